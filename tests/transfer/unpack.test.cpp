#include "transfer/unpack.hpp"
#include "tests/transfer/crafted.hpp"
#include "tests/transfer/repo.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/beneath.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <functional>
#include <random>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

errc unpack_code(const std::vector<member>& members, const unpack_limits& limits = {}) {
  temp t;
  put(t / "outside/file", "untouched");
  craft(t / "a.tar", members);
  auto done = unpack_archive(t / "a.tar", t / "dest", limits);
  CHECK(get(t / "outside/file") == "untouched");
  CHECK_FALSE(exists(t / "evil"));
  CHECK_FALSE(exists(t / "outside/evil"));
  return done ? errc::none : done.err().code;
}

} // namespace

TEST_CASE("archives that reach out of their directory are refused", "[owasp-a03]") {
  CHECK(unpack_code({{"/tmp/skep-evil"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"../evil"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"a/../../evil"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"a//b"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"l", AE_IFLNK, "", "../outside"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"l", AE_IFLNK, "", "/etc/passwd"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"d/l", AE_IFLNK, "", "../../x"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"f"}, {"h", AE_IFREG, "", "../outside/file", 0644, true}})
        == errc::unsafe_archive);
  CHECK(unpack_code({{"dev", AE_IFCHR}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"blk", AE_IFBLK}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"pipe", AE_IFIFO}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"s", AE_IFREG, "x", "", 04755}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"s", AE_IFREG, "x", "", 02755}}) == errc::unsafe_archive);
}

TEST_CASE("a folder .git is refused wherever it is, in any case") {
  for (const char* path : {".git/config", "sub/.git/config", "a/b/.GIT/hooks/x", ".Git"})
    CHECK(unpack_code({{path}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"sub/.git", AE_IFDIR}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"sub/.git", AE_IFLNK, "", "elsewhere"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{".gitignore"}, {"x.git/config"}, {"git/.github/y"}}) == errc::none);
}

TEST_CASE("the holes of a sparse file count as bytes that were unpacked") {
  temp t;
  auto* a = archive_write_new();
  archive_write_set_format_pax(a);
  REQUIRE(archive_write_open_filename(a, (t / "a.tar").c_str()) == ARCHIVE_OK);
  auto* e = archive_entry_new();
  constexpr la_int64_t size = 1LL << 30;
  archive_entry_set_pathname(e, "holes");
  archive_entry_set_filetype(e, AE_IFREG);
  archive_entry_set_perm(e, 0644);
  archive_entry_set_size(e, size);
  archive_entry_sparse_add_entry(e, size - 1, 1);
  REQUIRE(archive_write_header(a, e) >= ARCHIVE_WARN);
  const std::string piece(1 << 20, '\0');
  for (int i = 0; i < 1024; ++i)
    REQUIRE(archive_write_data(a, piece.data(), piece.size()) >= 0);
  archive_entry_free(e);
  archive_write_free(a);
  REQUIRE(std::filesystem::file_size(t / "a.tar") < 100'000);
  CHECK(unpack_archive(t / "a.tar", t / "dest").err().code == errc::unsafe_archive);
  CHECK(std::filesystem::file_size(t / "dest/holes") < 100'000'000);
}

TEST_CASE("nothing is written through a symlink of the archive itself") {
  unpack_limits limits;
  limits.outward_links = true;
  CHECK(unpack_code({{"l", AE_IFLNK, "", "../outside"}, {"l/evil"}}, limits)
        == errc::unsafe_archive);
  CHECK(unpack_code({{"l", AE_IFLNK, "", "."}, {"l/evil"}}) == errc::unsafe_archive);
  CHECK(unpack_code({{"l", AE_IFLNK, "", "../outside/evil"}, {"l"}}, limits) == errc::exists);
}

TEST_CASE("a file is never overwritten") {
  CHECK(unpack_code({{"f"}, {"f"}}) == errc::exists);
  CHECK(unpack_code({{"f"}, {"f/g"}}) == errc::unsafe_archive);
}

TEST_CASE("count, size and ratio are capped") {
  unpack_limits limits;
  limits.max_files = 2;
  CHECK(unpack_code({{"a"}, {"b"}, {"c"}}, limits) == errc::unsafe_archive);
  limits = {};
  limits.max_bytes = 10;
  CHECK(unpack_code({{"a", AE_IFREG, "123456"}, {"b", AE_IFREG, "123456"}}, limits)
        == errc::unsafe_archive);

  temp t;
  auto writer = archive_writer::create(t / "bomb");
  REQUIRE(writer.ok());
  std::string zeros(1 << 20, '\0');
  file_entry f;
  f.path = "zeros";
  f.size = 100 * zeros.size();
  REQUIRE(writer->begin(f, 0).ok());
  for (int i = 0; i < 100; ++i)
    REQUIRE(writer->data(zeros).ok());
  REQUIRE(writer->finish().ok());
  CHECK(unpack_archive(t / "bomb", t / "dest").err().code == errc::unsafe_archive);
}

TEST_CASE("a damaged or cut archive is refused", "[owasp-a08]") {
  temp t;
  auto writer = archive_writer::create(t / "a");
  file_entry f;
  f.path = "f";
  std::string text;
  for (int i = 0; i < 20000; ++i)
    text += std::to_string(i * 7919) + ",";
  f.size = text.size();
  REQUIRE(writer->begin(f, 0).ok());
  REQUIRE(writer->data(text).ok());
  REQUIRE(writer->finish().ok());
  auto bytes = get(t / "a");
  put(t / "cut", std::string_view{bytes}.substr(0, bytes.size() - 20));
  CHECK(unpack_archive(t / "cut", t / "d1").err().code == errc::checksum);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x55);
  put(t / "bad", bytes);
  CHECK(unpack_archive(t / "bad", t / "d2").err().code == errc::checksum);
  put(t / "text", "this is no archive, but it is text\n");
  CHECK_FALSE(unpack_archive(t / "text", t / "d3").ok());
}

TEST_CASE("an archive is whole also where its end meets the end of the decoder's buffer") {
  // A header and 1 KiB each, and 1 KiB at the end: two and eight buffers of 128 KiB.
  auto files = GENERATE(170, 682);
  temp t;
  auto writer = archive_writer::create(t / "a");
  REQUIRE(writer.ok());
  std::minstd_rand chance{7};
  for (int i = 0; i < files; ++i) {
    file_entry f;
    f.path = "f" + std::to_string(i);
    std::string content(1024, ' ');
    for (char& c : content)
      c = "abcdefgh \n"[(chance() >> 8U) % 10];
    f.size = content.size();
    REQUIRE(writer->begin(f, 0).ok());
    REQUIRE(writer->data(content).ok());
  }
  REQUIRE(writer->finish().ok());
  auto done = unpack_archive(t / "a", t / "dest");
  CHECK((done ? std::string{} : done.err().message) == "");
  CHECK(get(t / "dest/f169").size() == 1024);
}

TEST_CASE("modes are reduced to 0644 and 0755 whatever the umask") {
  temp t;
  craft(t / "a.tar", {{"a", AE_IFREG, "x", "", 0666}, {"b", AE_IFREG, "x", "", 0777}});
  auto before = ::umask(0077);
  auto done = unpack_archive(t / "a.tar", t / "dest");
  ::umask(before);
  REQUIRE(done.ok());
  struct stat st {};
  REQUIRE(::stat((t / "dest/a").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0644);
  REQUIRE(::stat((t / "dest/b").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0755);
}

TEST_CASE("symlinks that stay inside are told from those that do not") {
  CHECK(link_stays_inside("a/b", "../c"));
  CHECK(link_stays_inside("a", "./b/./c"));
  CHECK(link_stays_inside("a/b/c", "../../d"));
  CHECK_FALSE(link_stays_inside("a", "b/../c")); // b may be a link to "."
  CHECK_FALSE(link_stays_inside("a", "../c"));
  CHECK_FALSE(link_stays_inside("a/b", "../../c"));
  CHECK_FALSE(link_stays_inside("a/b", "x/../../../y"));
  CHECK_FALSE(link_stays_inside("a", "/c"));
}

TEST_CASE("paths are safe only when every component is a plain name") {
  CHECK(safe_relative("a/b.c/-d"));
  for (const char* bad : {"", "/a", "a/", "a//b", ".", "..", "a/..", "a/./b", "../a"})
    CHECK_FALSE(safe_relative(bad));
  CHECK_FALSE(safe_relative(std::string("a\0b", 3)));
  CHECK_FALSE(safe_relative(std::string(256, 'a')));
}
