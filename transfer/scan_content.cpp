#include "transfer/scan_content.hpp"

#include "transfer/scan_checks.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <utility>

namespace skep::transfer {
namespace {

constexpr std::size_t window_bytes = 1024 * 1024;
constexpr std::size_t overlap_bytes = 16 * 1024;
constexpr std::size_t late_bytes = 8 * 1024;
constexpr std::size_t told_bytes = 8 * 1024; // of the beginning, to tell text from binary
constexpr unsigned most_a_rule = 10;

std::uint64_t line_ends(std::string_view text) {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// The same for the same value, in a file and in a patch.
std::string print_of(const scan_rule& rule, const checked_match& got) {
  constexpr std::size_t most_of_a_key = 2000;
  if (got.value.empty()) return {};
  auto text = std::string{rule.name} + " " + std::string{to_string(got.severity)} + " ";
  auto head = text.size();
  bool lines = rule.check == scan_check::key_block || rule.check == scan_check::putty;
  // Between a key's lines a patch has its marks.
  for (char c : got.value)
    if (!lines || (is_letter_or_digit(c) && text.size() < head + most_of_a_key)) text += c;
  return sha256_of(text);
}

} // namespace

result<content_scanner> content_scanner::make(scan_engine_ptr engine, print_use prints) {
  auto scratch = scan_scratch::make(std::move(engine));
  if (!scratch) return scratch.err();
  return content_scanner{std::move(*scratch), prints};
}

void content_scanner::begin(std::string path) {
  path_ = std::move(path);
  window_.clear();
  base_ = done_ = lines_ = known_ = 0;
  started_ = binary_ = wide_ = false;
  auto rules = scratch_.engine().rules().size();
  last_.assign(rules, 0);
  told_.assign(2 * rules, 0);
  line_.assign(2 * rules, 0);
  told_prints_.clear();
  met_prints_.clear();
  met_.clear();
}

void content_scanner::note_start(std::string_view piece) {
  started_ = true;
  wide_ = piece.starts_with("\xff\xfe") || piece.starts_with("\xfe\xff");
  binary_ = !wide_ && piece.substr(0, told_bytes).find('\0') != piece.npos;
}

result<void> content_scanner::data(std::string_view piece) {
  if (!started_ && !piece.empty()) note_start(piece);
  while (!piece.empty()) {
    auto part = piece.substr(0, window_bytes - window_.size());
    piece.remove_prefix(part.size());
    if (wide_) // of a credential's characters one of the two bytes is NUL
      std::copy_if(part.begin(), part.end(), std::back_inserter(window_),
                   [](char c) { return c != '\0'; });
    else
      window_ += part;
    if (window_.size() < window_bytes) continue;
    if (auto done = scan_window(window_, false); !done) return done;
    auto gone = window_.size() - overlap_bytes;
    lines_ += line_ends(std::string_view{window_}.substr(0, gone));
    base_ += gone;
    window_.erase(0, gone);
  }
  return {};
}

result<void> content_scanner::end() {
  auto done = scan_window(window_, true);
  window_.clear();
  return done;
}

result<void> content_scanner::whole(std::string_view content) {
  if (!started_ && !content.empty()) note_start(content);
  if (!wide_ && window_.empty() && base_ == 0 && content.size() <= window_bytes)
    return scan_window(content, true);
  if (auto done = data(content); !done) return done;
  return end();
}

result<void> content_scanner::scan_window(std::string_view window, bool last) {
  if (window.empty()) return {};
  auto limit = last ? window.size() : window.size() - late_bytes;
  auto done = scratch_.scan(window, [&](std::size_t rule, std::size_t from, std::size_t to) {
    on_match(window, rule, from, to, limit);
  });
  if (!done) {
    auto e = done.err();
    e.message = path_ + ": " + e.message;
    return e;
  }
  tell(window, limit);
  return {};
}

void content_scanner::on_match(std::string_view window, std::size_t rule, std::size_t from,
                               std::size_t to, std::size_t limit) {
  const auto& r = scratch_.engine().rules()[rule];
  auto start = base_ + from;
  if (from >= limit || start < done_ || last_[rule] == start + 1) return;
  last_[rule] = start + 1;
  bool words = r.check == scan_check::word || r.check == scan_check::assigned;
  if ((words && binary_) || (r.check == scan_check::word && told_[2 * rule] > 0)) return;
  auto got = check_match(r, window, from, to);
  if (!got.found) return;
  auto print = prints_.keep || prints_.known ? print_of(r, got) : std::string{};
  places_.push_back({rule, base_ + got.at, got.severity, std::move(print)});
}

void content_scanner::meet(const place& p) {
  if (p.print.empty() || met_.size() >= most_prints || !met_prints_.insert(p.print).second) return;
  const auto& rule = scratch_.engine().rules()[p.rule];
  met_.push_back({{path_, 0, std::string{rule.name}, std::string{rule.kind}, p.severity}, p.print});
}

bool content_scanner::is_known(const place& p) const {
  return prints_.known && !p.print.empty()
         && (prints_.known->contains(p.print) || told_prints_.contains(p.print));
}

void content_scanner::tell(std::string_view window, std::size_t limit) {
  const auto& rules = scratch_.engine().rules();
  auto assigned = [&](const place& p) { return rules[p.rule].check == scan_check::assigned; };
  // At one offset the known forms come first.
  std::stable_sort(places_.begin(), places_.end(), [&](const place& a, const place& b) {
    return a.offset != b.offset ? a.offset < b.offset : !assigned(a) && assigned(b);
  });
  auto counted = base_;
  auto line = lines_ + 1;
  for (const auto& p : std::exchange(places_, {})) {
    auto from = static_cast<std::size_t>(counted - base_);
    auto to = static_cast<std::size_t>(p.offset - base_);
    line += line_ends(window.substr(from, to - from));
    counted = p.offset;
    // One value is one finding: what a known form has found is not told as an assignment too.
    if (assigned(p) && known_ == p.offset + 1) continue;
    if (!assigned(p) && p.severity == finding_severity::high) known_ = p.offset + 1;
    if (prints_.keep) meet(p);
    if (is_known(p)) continue;
    const auto& rule = rules[p.rule];
    auto slot = 2 * p.rule + (p.severity == finding_severity::low ? 0 : 1);
    auto most = rule.check == scan_check::word ? 1u : most_a_rule;
    if (line_[slot] == line || told_[slot] >= most) continue;
    line_[slot] = line;
    ++told_[slot];
    findings_.push_back({path_, line, std::string{rule.name}, std::string{rule.kind}, p.severity});
    if (prints_.known) told_prints_.insert(p.print);
  }
  done_ = base_ + limit;
}

std::vector<scan_finding> content_scanner::take() {
  return std::exchange(findings_, {});
}

std::vector<met_value> content_scanner::take_met() {
  return std::exchange(met_, {});
}

} // namespace skep::transfer
