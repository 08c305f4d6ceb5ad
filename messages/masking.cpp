#include "messages/masking.hpp"

#include "messages/json.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace skep {
namespace {

bool is_alnum(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}
bool is_token_char(char c) {
  return is_alnum(c) || c == '-' || c == '_';
}
bool is_base64_char(char c) {
  return is_alnum(c) || c == '+' || c == '/' || c == '-' || c == '_';
}

std::string url_form(const std::string& value) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned char c : value) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      out.push_back(static_cast<char>(c));
    } else {
      out.push_back('%');
      out.push_back(hex[c >> 4]);
      out.push_back(hex[c & 15]);
    }
  }
  return out;
}

std::string hex_form(const std::string& value, const char* digits) {
  std::string out;
  for (unsigned char c : value) {
    out.push_back(digits[c >> 4]);
    out.push_back(digits[c & 15]);
  }
  return out;
}

// The part of base64(prefix + value + anything) that depends on the value alone.
std::string base64_form(const std::string& value, std::size_t alignment) {
  auto text = base64_encode(std::string(alignment, '\0') + value);
  auto first = alignment == 0 ? 0 : alignment == 1 ? 2 : 3;
  auto bits = (alignment + value.size()) * 8;
  auto last = bits / 6;
  return text.substr(static_cast<std::size_t>(first), last - static_cast<std::size_t>(first));
}

std::string url_alphabet(std::string text) {
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
}

} // namespace

std::vector<std::string> masked_forms(const std::vector<std::string>& secrets) {
  std::vector<std::string> out;
  auto add = [&](std::string x) {
    if (x.size() >= shortest_masked && std::find(out.begin(), out.end(), x) == out.end())
      out.push_back(std::move(x));
  };
  for (const auto& s : secrets) {
    if (s.size() < shortest_masked) continue;
    add(s);
    add(url_form(s));
    add(hex_form(s, "0123456789abcdef"));
    add(hex_form(s, "0123456789ABCDEF"));
    for (std::size_t i = 0; i < 3; ++i) {
      auto form = base64_form(s, i);
      add(url_alphabet(form));
      add(std::move(form));
    }
  }
  return out;
}

// ---- known values ---------------------------------------------------------------------------

namespace {

/// So many characters of a value stand in one line; of long values a break before that leaves the
/// rest, which is looked for too.
constexpr std::size_t unbroken = 3;
constexpr std::size_t shortest_broken = 16;

/// How far a text goes along with a value: all of it (`size` bytes of the text), or to the text's
/// end, or not.
struct along {
  std::size_t size = 0;
  bool text_ends = false;
};

// A line break may stand between two characters (and CR LF for an LF of the value), but not so soon
// that most lines would have to wait for the next one to be decided.
along compare(std::string_view text, std::string_view value) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (i >= unbroken && at < text.size() && text[at] != value[i]) {
      if (text[at] == '\r') ++at;
      if (at < text.size() && text[at] == '\n' && value[i] != '\n') ++at;
    }
    if (at == text.size()) return {0, true};
    if (text[at] != value[i]) return {};
    ++at;
  }
  return {at, false};
}

// Stars for a value; the lines stay as they were.
void add_stars(std::string& out, std::string_view value) {
  for (char c : value)
    out.push_back(c == '\r' || c == '\n' ? c : '*');
}

} // namespace

form_set::form_set(std::vector<std::string> forms) : values_(std::move(forms)) {
  std::erase_if(values_, [](const std::string& x) { return x.size() < shortest_masked; });
  for (std::size_t i = 0, given = values_.size(); i < given; ++i)
    for (std::size_t cut = 1; cut < unbroken && values_[i].size() >= shortest_broken; ++cut)
      values_.push_back(values_[i].substr(cut));
  std::sort(values_.begin(), values_.end(),
            [](auto& a, auto& b) { return a[0] != b[0] ? a[0] < b[0] : a.size() > b.size(); });
  for (const auto& x : values_)
    first_bytes_.set(static_cast<unsigned char>(x[0]));
}

std::size_t form_set::longest() const {
  std::size_t most = 0;
  for (const auto& x : values_)
    most = std::max(most, x.size());
  return 3 * most; // CR LF between any two
}

// Longest value first, so of two secrets with one beginning the longer is masked whole, as soon as
// it is known that it does not come.
std::size_t form_set::match(std::string_view rest, bool over, bool& undecided) const {
  undecided = false;
  if (!first_bytes_[static_cast<unsigned char>(rest[0])]) return 0;
  auto v = std::lower_bound(values_.begin(), values_.end(), rest[0],
                            [](const std::string& x, char first) { return x[0] < first; });
  for (; v != values_.end() && v->front() == rest[0]; ++v) {
    auto [size, text_ends] = compare(rest, *v);
    if (size > 0) return size;
    if (!over && text_ends) {
      undecided = true;
      return 0;
    }
  }
  return 0;
}

std::string masker::decide(bool over) {
  std::string_view text{held_};
  std::string out;
  std::size_t i = 0;
  while (i < text.size()) {
    auto rest = text.substr(i);
    bool undecided = false;
    auto masked = forms_.match(rest, over, undecided);
    if (undecided) {
      held_.erase(0, i);
      return unseen(std::move(out));
    }
    if (masked > 0)
      add_stars(out, rest.substr(0, masked));
    else
      out.push_back(rest[0]);
    i += std::max<std::size_t>(masked, 1);
  }
  held_.clear();
  return unseen(std::move(out));
}

// `masked` is what came to be known of the first bytes; those that were shown are not given twice.
std::string masker::unseen(std::string masked) {
  auto twice = std::min(shown_, masked.size());
  shown_ -= twice;
  masked.erase(0, twice);
  return masked;
}

std::string masker::show() {
  auto all = held_;
  auto shown = std::exchange(shown_, 0);
  auto out = decide(true);
  held_ = std::move(all);
  shown_ = held_.size();
  return blinded(out.substr(shown));
}

std::string masker::feed(std::string_view data) {
  if (forms_.empty()) return std::string{data};
  held_ += data;
  return blinded(decide(false));
}

void masker::lose(std::size_t since) {
  held_.clear();
  shown_ = 0;
  blind_ = forms_.longest();
  blind_ -= std::min(blind_, since);
}

// Behind the values, so that one which begins in these bytes and ends beyond them is found.
std::string masker::blinded(std::string text) {
  auto size = std::min(blind_, text.size());
  if (size == 0) return text;
  std::string out;
  add_stars(out, std::string_view{text}.substr(0, size));
  blind_ -= size;
  return out.append(text, size);
}

std::string masker::flush() {
  return blinded(decide(true));
}

// ---- shapes ---------------------------------------------------------------------------------

namespace {

/// A piece of text that is no one's business: `size` bytes from where it was looked for, of which
/// the first `keep` stay (the "password=" before one).
struct shape {
  std::size_t size = 0;
  std::size_t keep = 0;
  const char* what = "";
};

std::size_t run_of(std::string_view text, bool (*belongs)(char)) {
  std::size_t n = 0;
  while (n < text.size() && belongs(text[n]))
    ++n;
  return n;
}

bool starts_with_nocase(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (std::size_t i = 0; i < lower.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(text[i])) != lower[i]) return false;
  return true;
}

// "-----BEGIN ... PRIVATE KEY-----" up to its end line, or to the end of the text.
shape key_block(std::string_view rest) {
  if (!rest.starts_with("-----BEGIN ")) return {};
  auto title = rest.substr(0, rest.find("-----", 11));
  if (title.size() > 80 || title.find("KEY") == std::string_view::npos) return {};
  auto end = rest.find("-----END ", 11);
  if (end == std::string_view::npos) return {rest.size(), 0, "private key"};
  auto close = rest.find("-----", end + 9);
  return {close == std::string_view::npos ? rest.size() : close + 5, 0,
          title.find("PRIVATE") == std::string_view::npos ? "public key" : "private key"};
}

shape public_key(std::string_view rest) {
  for (std::string_view kind : {"ssh-rsa ", "ssh-ed25519 ", "ssh-dss ", "ecdsa-sha2-nistp256 ",
                                "ecdsa-sha2-nistp384 ", "ecdsa-sha2-nistp521 "})
    if (rest.starts_with(kind) && rest.substr(kind.size()).starts_with("AAAA"))
      return {kind.size() + run_of(rest.substr(kind.size()), is_base64_char), 0, "public key"};
  return {};
}

shape fingerprint(std::string_view rest) {
  if (rest.starts_with("SHA256:"))
    if (auto n = run_of(rest.substr(7), is_base64_char); n == 43) return {50, 0, "fingerprint"};
  if (!rest.starts_with("MD5:") || rest.size() < 4 + 47) return {};
  for (std::size_t i = 0; i < 47; ++i) {
    auto c = static_cast<unsigned char>(rest[4 + i]);
    if (i % 3 == 2 ? c != ':' : std::isxdigit(c) == 0) return {};
  }
  return {51, 0, "fingerprint"};
}

// Keys that say whose they are by their beginning, and how long what follows is at least.
struct key_prefix {
  std::string_view text;
  std::size_t least;
};
constexpr std::array<key_prefix, 25> prefixes = {{
    {"sk-ant-", 10}, {"sk-proj-", 16}, {"sk-", 20},     {"e2b_", 16},     {"ghp_", 20},
    {"gho_", 20},    {"ghu_", 20},     {"ghs_", 20},    {"ghr_", 20},     {"github_pat_", 20},
    {"glpat-", 16},  {"xoxb-", 16},    {"xoxp-", 16},   {"xoxa-", 16},    {"xoxs-", 16},
    {"AKIA", 16},    {"ASIA", 16},     {"AIza", 30},    {"hf_", 20},      {"npm_", 30},
    {"pypi-", 20},   {"rk_live_", 16}, {"dop_v1_", 20}, {"sk_live_", 16}, {"ya29.", 20},
}};

shape provider_key(std::string_view rest) {
  for (const auto& p : prefixes)
    if (rest.starts_with(p.text))
      if (auto n = run_of(rest.substr(p.text.size()), is_token_char); n >= p.least)
        return {p.text.size() + n, 0, "key"};
  return {};
}

// A JSON web token: three parts of base64url.
shape web_token(std::string_view rest) {
  if (!rest.starts_with("eyJ")) return {};
  std::size_t at = 0;
  for (int part = 0; part < 3; ++part) {
    auto n = run_of(rest.substr(at), is_token_char);
    if (n < 8) return {};
    at += n;
    if (part < 2) {
      if (at >= rest.size() || rest[at] != '.') return {};
      ++at;
    }
  }
  return {at, 0, "token"};
}

// "Bearer X", "Basic X".
shape authorization(std::string_view rest) {
  for (std::string_view kind : {"bearer ", "basic "})
    if (starts_with_nocase(rest, kind)) {
      auto n = run_of(rest.substr(kind.size()),
                      [](char c) { return is_base64_char(c) || c == '.' || c == '=' || c == '~'; });
      if (n >= 8) return {kind.size() + n, kind.size(), "token"};
    }
  return {};
}

// password=X, "api_key": "X", TOKEN: X.
shape assignment(std::string_view rest) {
  for (std::string_view name : {"password", "passwd", "secret", "api_key", "api-key", "apikey",
                                "access_token", "auth_token", "token", "private_key"}) {
    if (!starts_with_nocase(rest, name)) continue;
    auto at = name.size();
    if (at < rest.size() && rest[at] == '"') ++at;
    while (at < rest.size() && rest[at] == ' ')
      ++at;
    if (at >= rest.size() || (rest[at] != '=' && rest[at] != ':')) continue;
    ++at;
    while (at < rest.size() && (rest[at] == ' ' || rest[at] == '"' || rest[at] == '\''))
      ++at;
    auto n = run_of(rest.substr(at), [](char c) {
      return std::isgraph(static_cast<unsigned char>(c)) != 0 && c != '"' && c != '\'' && c != ','
             && c != ';' && c != '&' && c != '}' && c != ')' && c != '*' && c != '[';
    });
    if (n >= shortest_masked) return {at + n, at, "secret"};
  }
  return {};
}

// ://user:password@host
shape url_password(std::string_view rest) {
  if (!rest.starts_with("://")) return {};
  auto end = rest.find_first_of("/ \t\n\"'", 3);
  auto authority = rest.substr(3, end == std::string_view::npos ? end : end - 3);
  auto at = authority.rfind('@');
  auto colon = authority.find(':');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon + 1 >= at) return {};
  return {3 + at, 3 + colon + 1, "password"};
}

// A digest is shorter and in one case, a path has more slashes.
shape long_base64(std::string_view rest) {
  auto n = run_of(rest, is_base64_char);
  if (n < 64) return {};
  std::size_t upper = 0, lower = 0, digits = 0, others = 0;
  for (char c : rest.substr(0, n)) {
    auto u = static_cast<unsigned char>(c);
    upper += std::isupper(u) != 0;
    lower += std::islower(u) != 0;
    digits += std::isdigit(u) != 0;
    others += c == '/' || c == '-' || c == '_';
  }
  if (upper < n / 8 || lower < n / 8 || digits == 0 || others > n / 10 + 1) return {};
  while (n < rest.size() && rest[n] == '=')
    ++n;
  return {n, 0, "long base64"};
}

shape shape_at(std::string_view rest, bool word_begins) {
  if (rest[0] == '-')
    if (auto s = key_block(rest); s.size > 0) return s;
  if (rest[0] == ':')
    if (auto s = url_password(rest); s.size > 0) return s;
  // Also inside of a word such as MY_TOKEN.
  if (is_alnum(rest[0]))
    if (auto s = assignment(rest); s.size > 0) return s;
  if (!word_begins || !is_base64_char(rest[0])) return {};
  for (auto* look : {public_key, fingerprint, provider_key, web_token, authorization, long_base64})
    if (auto s = look(rest); s.size > 0) return s;
  return {};
}

} // namespace

std::string without_shapes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  char before = ' ';
  for (std::size_t i = 0; i < text.size();) {
    auto rest = text.substr(i);
    auto found = shape_at(rest, !is_base64_char(before));
    if (found.size == 0) {
      before = rest[0];
      out.push_back(before);
      ++i;
      continue;
    }
    out += rest.substr(0, found.keep);
    out += "[removed: ";
    out += found.what;
    out += ']';
    before = ']';
    i += found.size;
  }
  return out;
}

std::string redactor::operator()(std::string_view text) const {
  if (forms_.empty()) return without_shapes(text);
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    bool undecided = false;
    auto n = forms_.match(text.substr(i), true, undecided);
    if (n > 0)
      add_stars(out, text.substr(i, n));
    else
      out.push_back(text[i]);
    i += std::max<std::size_t>(n, 1);
  }
  return without_shapes(out);
}

// ---- the mask of this process ---------------------------------------------------------------

namespace {
std::function<std::string(std::string_view)>& process_mask() {
  static std::function<std::string(std::string_view)> mask = without_shapes;
  return mask;
}
} // namespace

void set_process_mask(std::function<std::string(std::string_view)> mask) {
  process_mask() = std::move(mask);
}

std::string masked_text(std::string_view text) {
  return text.empty() ? std::string{} : process_mask()(text);
}

error masked(error e) {
  e.message = masked_text(e.message);
  e.cause = masked_text(e.cause);
  return e;
}

} // namespace skep
