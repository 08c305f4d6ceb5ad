// The reader of uploads, without HTTP.
#include "host/envd/multipart.hpp"
#include "tests/support/catch.hpp"

using namespace skep::envd;

namespace {

struct reading {
  std::vector<std::map<std::string, std::string>> headers;
  std::string data;
  bool good = true;
  bool done = false;
};

reading read(std::string_view text, std::size_t piece) {
  reading out;
  multipart_reader reader{"B",
                          {[&](const auto& headers) { out.headers.push_back(headers); },
                           [&](std::string_view bytes) { out.data += bytes; }, [] {}}};
  for (std::size_t at = 0; at < text.size() && out.good; at += piece)
    out.good = reader.feed(text.substr(at, piece));
  out.done = reader.done();
  return out;
}

std::string with_header(const std::string& line) {
  return "--B\r\n" + line + "\r\n\r\nbody\r\n--B--\r\n";
}

} // namespace

TEST_CASE("parts and their headers come out the same however the body is cut") {
  const std::string body =
      "before\r\n--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\none\r\n--C"
      "\r\n--B\r\n\r\n\r\n--B--\r\nbehind";
  for (std::size_t piece = 1; piece <= body.size(); ++piece) {
    INFO(piece);
    auto got = read(body, piece);
    CHECK(got.good);
    CHECK(got.done);
    CHECK(got.data == "one\r\n--C");
    REQUIRE(got.headers.size() == 2);
    CHECK(got.headers[0].at("content-disposition") == "form-data; name=\"f\"");
    CHECK(got.headers[1].empty());
  }
}

TEST_CASE("a header of a part that holds a control character is refused") {
  for (const auto& line :
       {std::string{"A\nB: c"}, std::string{"A: b\nc"}, std::string{"A: b\rc"},
        std::string("A: b\0c", 6), std::string{"A b: c"}, std::string{": c"},
        std::string{"A\xc3: c"}, std::string{"A: b\x7f"}, std::string{"no colon"}}) {
    INFO(line);
    CHECK_FALSE(read(with_header(line), 1000).good);
    CHECK_FALSE(read(with_header(line), 1).good);
  }
  CHECK(read(with_header("A: b\tc \xc3\xa4\xff"), 1000).good);
}

TEST_CASE("the limit of a part's header does not depend on the cuts") {
  auto fits = with_header("A: " + std::string(16'000, 'x'));
  auto long_one = with_header("A: " + std::string(17'000, 'x'));
  auto long_boundary = "--B" + std::string(17'000, ' ') + "\r\n\r\nbody\r\n--B--";
  for (std::size_t piece : {1'000u, 4'096u, 100'000u}) {
    INFO(piece);
    CHECK(read(fits, piece).done);
    CHECK_FALSE(read(long_one, piece).good);
    CHECK_FALSE(read(long_boundary, piece).good);
  }
}
