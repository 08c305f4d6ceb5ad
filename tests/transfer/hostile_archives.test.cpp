// What an attacker would send as a pane's results, each beside a twin that differs in the one thing
// that matters and must be accepted: so that what refuses is the reason named, and not something
// else about the archive.
#include "tests/transfer/crafted.hpp"
#include "tests/transfer/repo.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/piece_codec.hpp"
#include "transfer/tar_format.hpp"
#include "transfer/unpack.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <set>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

struct piece {
  std::string path;
  unsigned type = AE_IFREG;
  std::string link = {};
  unsigned mode = 0644;
  bool hard = false;
  std::size_t bytes = 1;
};

std::string tar_of(const std::vector<piece>& pieces) {
  temp t;
  std::vector<member> members;
  for (const auto& m : pieces)
    members.push_back({m.path, m.type, std::string(m.bytes, 'x'), m.link, m.mode, m.hard});
  craft(t / "a", members);
  return get(t / "a");
}

/// As gzip members of 1 MiB, by both of our compressors.
std::string gzip_of(std::size_t zeros, int level) {
  auto codec = piece_codec::make({compression::gzip, level});
  REQUIRE(codec.ok());
  file_entry f;
  f.path = "f";
  f.size = zeros;
  auto tar = tar_header(f, 0) + std::string(zeros + tar_padding(zeros) + tar_end_bytes, '\0');
  std::string out, member;
  for (std::string_view left{tar}; !left.empty();) {
    auto n = (*codec)->compress(left.substr(0, 1u << 20), member);
    REQUIRE(n.ok());
    out.append(member, 0, *n);
    left.remove_prefix(std::min<std::size_t>(left.size(), 1u << 20));
  }
  return out;
}

/// With another bit at this place, from the end.
std::string flipped(std::string text, std::size_t from_end) {
  auto& c = text[text.size() - from_end];
  c = static_cast<char>(c ^ 1);
  return text;
}

std::string zstd_of(std::size_t zeros) {
  temp t;
  auto writer = archive_writer::create(t / "a");
  file_entry f;
  f.path = "f";
  f.size = zeros;
  REQUIRE(writer->begin(f, 0).ok());
  std::string piece_of(1u << 20, '\0');
  for (std::size_t left = zeros; left > 0;) {
    auto n = std::min(left, piece_of.size());
    REQUIRE(writer->data({piece_of.data(), n}).ok());
    left -= n;
  }
  REQUIRE(writer->finish().ok());
  return get(t / "a");
}

/// A plain tar header of one empty entry; what `change` does to its fields comes before the sum.
std::string raw_tar(const std::string& name, char type, const std::string& size = "00000000000",
                    bool good_sum = true) {
  std::string h(512, '\0');
  auto at = [&](std::size_t offset, const std::string& text) {
    h.replace(offset, text.size(), text);
  };
  at(0, name.substr(0, 100));
  at(100, "0000644");
  at(108, "0000000");
  at(116, "0000000");
  at(124, size);
  at(136, "00000000000");
  at(148, "        ");
  h[156] = type;
  at(257, std::string("ustar\00000", 8));
  unsigned sum = good_sum ? 0 : 1;
  for (char c : h)
    sum += static_cast<unsigned char>(c);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  at(148, digits);
  h[155] = ' ';
  return h + std::string(1024, '\0');
}

struct twins {
  const char* name;
  std::string hostile, benign;
  const char* says; ///< What the refusal names.
  unpack_limits limits = {};
  unpack_limits benign_limits = {};
};

std::string cut(std::string text, std::size_t from_end) {
  REQUIRE(text.size() > from_end);
  text.resize(text.size() - from_end);
  return text;
}

std::string long_path(std::size_t bytes) {
  std::string out(bytes, 'p');
  for (std::size_t i = 200; i < bytes; i += 201)
    out[i] = '/';
  return out;
}

std::vector<twins> all_twins() {
  auto one = [](const std::string& path) { return tar_of({{path}}); };
  auto link = [](const std::string& path, const std::string& to) {
    return tar_of({{path, AE_IFLNK, to}});
  };
  auto mode = [](unsigned bits, unsigned type = AE_IFREG) {
    return tar_of({{"f", type, "", bits}});
  };
  constexpr auto leaves = "leaves the tree", repository = "a repository inside",
                 device = "neither file, directory nor symlink", bits = "setuid, setgid or sticky";
  unpack_limits two_files, ten_bytes, small_ratio, wide_ratio;
  two_files.max_files = 2;
  ten_bytes.max_bytes = 10;
  small_ratio.max_ratio = 10;
  wide_ratio.max_ratio = 1'000'000;
  auto bomb = zstd_of(70u << 20), small = zstd_of(1000);
  auto gzip_bomb = gzip_of(70u << 20, 6), gzip = gzip_of(1000, 1), members = gzip_of(3u << 20, 1);
  return {
      {"an absolute path", one("/tmp/skep-evil"), one("tmp/skep-evil"), leaves},
      {"an absolute path in a long name", one("/" + long_path(150)), one(long_path(150)), leaves},
      {"a parent", one("../evil"), one("evil"), leaves},
      {"two parents behind a folder", one("a/../../evil"), one("a/b/evil"), leaves},
      {"a parent that stays inside", one("a/../b"), one("a/b"), leaves},
      {"a parent at the end", tar_of({{"a/..", AE_IFDIR}}), tar_of({{"a", AE_IFDIR}}), leaves},
      {"nothing but a parent", tar_of({{"..", AE_IFDIR}}), tar_of({{"...", AE_IFDIR}}), leaves},
      {"an empty component", one("a//b"), one("a/b"), leaves},
      {"a dot component", one("a/./b"), one("a/.b"), leaves},
      {"a component too long", one("a/" + std::string(256, 'n')), one("a/" + std::string(255, 'n')),
       leaves},
      {"a path too long", one(long_path(4200)), one(long_path(1200)), leaves},
      {"a .git that is a file", one(".git"), one(".gitx"), repository},
      {"a configuration of git", one(".git/config"), one(".github/config"), repository},
      {"a hook further down", one("sub/.git/hooks/x"), one("sub/git/hooks/x"), repository},
      {"a .git in capitals", one(".GIT/config"), one(".GITHUB/config"), repository},
      {"a .git in mixed letters", one("a/b/.gIt/x"), one("a/b/.gIt2/x"), repository},
      {"a folder .git", tar_of({{"d/.git", AE_IFDIR}}), tar_of({{"d/.g", AE_IFDIR}}), repository},
      {"a link named .git", link("d/.git", "x"), link("d/.gi", "x"), repository},
      {"a link to an absolute path", link("l", "/etc/passwd"), link("l", "etc/passwd"), "symlink"},
      {"a link to the parent", link("l", ".."), link("l", "..."), "symlink"},
      {"a link out of the tree", link("l", "../x"), link("d/l", "../x"), "symlink"},
      {"a link out from a folder", link("d/l", "../../x"), link("d/e/l", "../../x"), "symlink"},
      {"a link in and out again", link("l", "a/../../x"), link("l", "a/b/x"), "symlink"},
      {"a link through a link", tar_of({{"b", AE_IFLNK, "."}, {"a", AE_IFLNK, "b/../x"}}),
       tar_of({{"b", AE_IFLNK, "."}, {"a", AE_IFLNK, "b/x"}}), "symlink"},
      {"a link with a very long target", link("l", std::string(5000, 't')),
       link("l", std::string(500, 't')), "symlink"},
      {"a file through a link", tar_of({{"l", AE_IFLNK, "d"}, {"l/f"}}),
       tar_of({{"l", AE_IFLNK, "d"}, {"d/f"}}), "cannot enter"},
      {"a file through a link to here", tar_of({{"l", AE_IFLNK, "."}, {"l/f"}}),
       tar_of({{"l", AE_IFLNK, "."}, {"f"}}), "cannot enter"},
      {"a folder through a link", tar_of({{"l", AE_IFLNK, "d"}, {"l/f", AE_IFDIR}}),
       tar_of({{"l", AE_IFLNK, "d"}, {"d/f", AE_IFDIR}}), "cannot enter"},
      {"a file in the place of a link", tar_of({{"l", AE_IFLNK, "d"}, {"l"}}),
       tar_of({{"l", AE_IFLNK, "d"}, {"m"}}), "l"},
      {"a link in the place of a file", tar_of({{"l"}, {"l", AE_IFLNK, "d"}}),
       tar_of({{"m"}, {"l", AE_IFLNK, "d"}}), "l"},
      {"a link in the place of a folder", tar_of({{"d", AE_IFDIR}, {"d", AE_IFLNK, "x"}}),
       tar_of({{"d", AE_IFDIR}, {"e", AE_IFLNK, "x"}}), "d"},
      {"a hard link to the outside", tar_of({{"f"}, {"h", AE_IFREG, "../f", 0644, true}}),
       tar_of({{"f"}, {"h"}}), "a hard link"},
      {"a hard link to the inside", tar_of({{"f"}, {"h", AE_IFREG, "f", 0644, true}}),
       tar_of({{"f"}, {"g"}}), "a hard link"},
      {"a character device", tar_of({{"f", AE_IFCHR}}), one("f"), device},
      {"a block device", tar_of({{"f", AE_IFBLK}}), one("f"), device},
      {"a pipe", tar_of({{"f", AE_IFIFO}}), one("f"), device},
      {"setuid", mode(04755), mode(0755), bits},
      {"setgid", mode(02755), mode(0755), bits},
      {"the sticky bit", mode(01644), mode(0644), bits},
      {"setuid and setgid", mode(06755), mode(0777), bits},
      {"setgid of a folder", mode(02755, AE_IFDIR), mode(0755, AE_IFDIR), bits},
      {"one name twice", tar_of({{"f"}, {"f"}}), tar_of({{"f"}, {"g"}}), "f"},
      {"a file below a file", tar_of({{"f"}, {"f/g"}}), tar_of({{"f"}, {"g/g"}}), "cannot enter"},
      {"a file in the place of a folder", tar_of({{"d/f"}, {"d"}}), tar_of({{"d/f"}, {"e"}}), "d"},
      {"a folder in the place of a file", tar_of({{"d"}, {"d", AE_IFDIR}}),
       tar_of({{"d"}, {"e", AE_IFDIR}}), "cannot enter"},
      {"more files than allowed", tar_of({{"a"}, {"b"}, {"c"}}), tar_of({{"a"}, {"b"}}),
       "more files", two_files, two_files},
      {"more folders than allowed", tar_of({{"a", AE_IFDIR}, {"b", AE_IFDIR}, {"c", AE_IFDIR}}),
       tar_of({{"a", AE_IFDIR}, {"b", AE_IFDIR}}), "more files", two_files, two_files},
      {"more bytes than allowed", tar_of({{"a", AE_IFREG, "", 0644, false, 11}}),
       tar_of({{"a", AE_IFREG, "", 0644, false, 10}}), "more bytes", ten_bytes, ten_bytes},
      {"more bytes together than allowed",
       tar_of({{"a", AE_IFREG, "", 0644, false, 6}, {"b", AE_IFREG, "", 0644, false, 5}}),
       tar_of({{"a", AE_IFREG, "", 0644, false, 5}, {"b", AE_IFREG, "", 0644, false, 5}}),
       "more bytes", ten_bytes, ten_bytes},
      {"a bomb", bomb, bomb, "compressed beyond", small_ratio, wide_ratio},
      {"a bomb of gzip", gzip_bomb, gzip_bomb, "compressed beyond", small_ratio, wide_ratio},
      {"a gzip member that is cut", cut(gzip, 10), gzip, "cut short"},
      {"a gzip member with a wrong sum", flipped(gzip, 8), gzip, "incorrect data check"},
      {"a gzip member with a wrong length", flipped(gzip, 4), gzip, "incorrect length check"},
      {"the last of several gzip members that is cut", cut(members, 3), members, "cut short"},
      {"a gzip member with something behind it", gzip + "something", gzip, "incorrect header"},
      {"a gzip member with zeros behind it", gzip + std::string(600, '\0'), gzip,
       "incorrect header"},
      {"a gzip member behind a zstd frame", small + gzip, small, ""},
      {"a zstd frame behind a gzip member", gzip + small, gzip, "incorrect header"},
      {"gzip of an unknown method", "\x1f\x8b\x07" + gzip.substr(3), gzip, ""},
      {"a size of terabytes in a header", raw_tar("f", '0', "77777777777"), raw_tar("f", '0'), "f",
       ten_bytes, ten_bytes},
      {"a header with a wrong sum", raw_tar("f", '0', "00000000000", false), raw_tar("f", '0'),
       "not a readable archive"},
      {"an end in the middle of a file",
       tar_of({{"f", AE_IFREG, "", 0644, false, 5000}}).substr(0, 3000),
       tar_of({{"f", AE_IFREG, "", 0644, false, 5000}}), ""},
      {"a frame that is cut", cut(small, 10), small, ""},
      {"a frame with something behind it", small + "something", small, ""},
      {"a text", "this is no archive, but text of some length\n", raw_tar("f", '0'),
       "not a readable archive"},
  };
}

} // namespace

TEST_CASE("hostile archives are refused by name, and their benign twins are not", "[owasp-a08]") {
  std::set<std::string> names;
  for (const auto& x : all_twins()) {
    INFO(x.name);
    CHECK(names.insert(x.name).second);
    temp t;
    put(t / "outside", "untouched");
    put(t / "hostile.tar", x.hostile);
    put(t / "benign.tar", x.benign);
    auto refused = unpack_archive(t / "hostile.tar", t / "hostile", x.limits);
    CHECK_FALSE(refused.ok());
    if (!refused) {
      const auto& e = refused.err();
      CHECK((e.code == errc::unsafe_archive || e.code == errc::exists || e.code == errc::checksum));
      CHECK(render(e).find(x.says) != std::string::npos);
    }
    CHECK(get(t / "outside") == "untouched");
    CHECK_FALSE(exists(t / "evil"));
    CHECK_FALSE(exists("/tmp/skep-evil"));
    auto taken = unpack_archive(t / "benign.tar", t / "benign", x.benign_limits);
    CHECK((taken ? "" : render(taken.err())) == "");
  }
  CHECK(names.size() >= 40);
}
