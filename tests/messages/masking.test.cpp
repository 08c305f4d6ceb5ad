// How secrets look, and that none is left in a text of ours.
#include "messages/masking.hpp"
#include "messages/json.hpp"
#include "tests/support/catch.hpp"

using namespace skep;

namespace {

const std::string secret = "sk-x/+T0p~S3cret=?42";

std::string hex(const std::string& x, bool upper) {
  std::string out;
  char two[3];
  for (unsigned char c : x) {
    std::snprintf(two, sizeof two, upper ? "%02X" : "%02x", c);
    out += two;
  }
  return out;
}

} // namespace

TEST_CASE("a known value is masked in every form, in its length", "[owasp-a02]") {
  redactor r{{secret}};
  CHECK(r("it is " + secret + "!") == "it is " + std::string(secret.size(), '*') + "!");
  for (bool upper : {false, true})
    CHECK(r("<" + hex(secret, upper) + ">") == "<" + std::string(2 * secret.size(), '*') + ">");
  CHECK(r("a=sk-x%2F%2BT0p~S3cret%3D%3F42&b").find("S3cret") == std::string::npos);
  for (std::size_t shift = 0; shift < 6; ++shift) {
    auto coded = base64_encode(std::string(shift, 'a') + secret + "tail");
    auto masked = r(coded);
    INFO(coded << " -> " << masked);
    CHECK(masked.size() == coded.size());
    CHECK(std::count(masked.begin(), masked.end(), '*') >= 24);
    auto url = coded;
    std::replace(url.begin(), url.end(), '+', '-');
    std::replace(url.begin(), url.end(), '/', '_');
    masked = r(url);
    CHECK(std::count(masked.begin(), masked.end(), '*') >= 24);
  }
  CHECK(r("nothing here") == "nothing here");
  CHECK(redactor{{"abcd"}}("abcd") == "abcd"); // shorter than five: ordinary text
}

TEST_CASE("a known value is masked where a terminal or base64 breaks its line", "[owasp-a02]") {
  const std::string key = "sk-ant-api03-Zx81kQ7vT0p~S3cret-" + std::string(64, 'k') + "-end";
  auto broken = [](std::string text, std::size_t width, const std::string& ending) {
    for (auto at = width; at < text.size(); at += width + ending.size())
      text.insert(at, ending);
    return text;
  };
  redactor r{{key}};
  for (const std::string ending : {"\n", "\r\n"})
    for (std::size_t width : {60, 64, 76})
      for (std::size_t before = 0; before < 80; ++before) {
        auto plain = std::string(before, '.') + key + "!";
        // A break after the first or second character leaves that much of the value.
        auto first = width - before % width;
        auto stars = std::string(before, '.') + key + "!";
        auto from = before + (first <= 2 ? first : 0);
        std::fill(stars.begin() + static_cast<std::ptrdiff_t>(from), stars.end() - 1, '*');
        CHECK(r(broken(plain, width, ending)) == broken(stars, width, ending));
        auto coded = r(broken(base64_encode(plain), width, ending));
        CHECK(coded.find("Wng4MWtRN3") == std::string::npos);
        CHECK(std::count(coded.begin(), coded.end(), '*') >= 128);
        CHECK(std::count(coded.begin(), coded.end(), '\n')
              == static_cast<std::ptrdiff_t>((base64_encode(plain).size() - 1) / width));
        auto dump = r(broken(hex(plain, false), width, ending));
        CHECK(std::count(dump.begin(), dump.end(), '*') >= 2 * 98);
      }
}

TEST_CASE("a value of many lines is masked as a terminal prints it") {
  const std::string key = "-----BEGIN X-----\nabcdefgh\nijklmnop\n-----END X-----";
  masker m{masked_forms({key})};
  auto out = m.feed("a -----BEGIN X-----\r\nabcd");
  out += m.feed("efgh\r\nijklmnop\r\n-----END X-----.\r\n");
  out += m.flush();
  CHECK(out == "a *****************\r\n********\r\n********\r\n***************.\r\n");
}

TEST_CASE("a line that ends like a value begins does not wait for the next") {
  masker m{masked_forms({secret})};
  CHECK(m.feed("all tests\n") == "all tests\n");
  CHECK(m.feed("it said sk-x") == "it said "); // this may go on
  CHECK(m.feed("\r\n/+T0p~S3cret=?42\n")
        == "****\r\n" + std::string(secret.size() - 4, '*') + "\n");
}

TEST_CASE("what looks like a secret is removed though nobody named it", "[owasp-a09]") {
  struct sample {
    std::string text, kept_before, kept_after, what;
  };
  const std::string b64 =
      "MIIEpAIBAAKCAQEAxq2K9vQ7mZ1b4tXo8bYw3pR5sT6uV7wX8yZ9aBcDeFgHiJkLmNoPqRsTuVwX";
  const std::vector<sample> all = {
      {"log: -----BEGIN RSA PRIVATE KEY-----\n" + b64 + "\n-----END RSA PRIVATE KEY----- after",
       "log: ", " after", "private key"},
      {"x -----BEGIN OPENSSH PRIVATE KEY----- " + b64, "x ", "", "private key"},
      {"-----BEGIN PUBLIC KEY-----" + b64 + "-----END PUBLIC KEY-----.", "", ".", "public key"},
      {"added ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1 me@host", "added ", " me@host", "public key"},
      {"fp SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDJ7NiZ1YkHTkkMpzs ok", "fp ", " ok", "fingerprint"},
      {"MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48 x", "", " x", "fingerprint"},
      {"key sk-ant-api03-abcdefghijklmnop, then", "key ", ", then", "key"},
      {"(e2b_0123456789abcdef0123)", "(", ")", "key"},
      {"ghp_0123456789abcdefghij0123456789abcdef", "", "", "key"},
      {"id AKIAIOSFODNN7EXAMPLE end", "id ", " end", "key"},
      {"xoxb-1234567890-abcdefghij", "", "", "key"},
      {"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P.", "jwt ",
       ".", "token"},
      {"Authorization: Bearer abcdef.123456 next", "Authorization: Bearer ", " next", "token"},
      {"password=hunter22 next", "password=", " next", "secret"},
      {R"({"api_key": "qwertyui"})", R"({"api_key": ")", R"("})", "secret"},
      {"MY_TOKEN=qwertyui;", "MY_TOKEN=", ";", "secret"},
      {"git clone https://me:qwertyui@host/x", "git clone https://me:", "@host/x", "password"},
      {"blob " + b64 + "== end", "blob ", " end", "long base64"},
  };
  for (const auto& s : all) {
    INFO(s.text);
    CHECK(without_shapes(s.text) == s.kept_before + "[removed: " + s.what + "]" + s.kept_after);
  }
}

TEST_CASE("ids, digests, paths and ordinary words stay as they are") {
  for (const std::string text :
       {"sw_01h455vb4pex5vsknk084sn02q sb_01h455vb4pex5vsknk084sn02q closed",
        "manifest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/home/user/.local/state/skep/Work/Projects/Some-Long-Name/build/Release/x86_64/bin/Tool9",
        "token budget, secrets are kept; sk- is a beginning; password is asked for", "Basic idea",
        "-----BEGIN CERTIFICATE----- is fine", "a task-force of sk-iers", ""})
    CHECK(without_shapes(text) == text);
}

TEST_CASE("errors pass the mask of the process, message and cause") {
  auto e = make_error(errc::refused, "it said " + secret,
                      "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- no");
  e.step = "upload";
  auto shapes = masked(e);
  CHECK(shapes.cause == "[removed: private key] no");
  set_process_mask(redactor{{secret}});
  auto all = masked(e);
  set_process_mask(without_shapes);
  CHECK(all.message == "it said " + std::string(secret.size(), '*'));
  CHECK(all.cause == "[removed: private key] no");
  CHECK(all.step == "upload");
  CHECK(all.code == errc::refused);
}

TEST_CASE("a hostile text is read in about linear time") {
  for (const std::string piece : {"-----BEGIN ", "://a:", "token=", "eyJ", "SHA256:", "AKIA"}) {
    std::string text;
    while (text.size() < 200'000)
      text += piece;
    CHECK(without_shapes(text).size() > 0);
  }
}
