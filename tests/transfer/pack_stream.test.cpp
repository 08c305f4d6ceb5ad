// The archive as a stream of pieces: the same bytes by any number of workers, in both compressions.
#include "transfer/pack_stream.hpp"
#include "tests/transfer/repo.hpp"
#include "transfer/beneath.hpp"
#include "transfer/pack.hpp"
#include "transfer/piece_codec.hpp"
#include "transfer/sha256.hpp"
#include "transfer/unpack.hpp"

#include <mutex>
#include <random>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

constexpr std::size_t mib = 1024 * 1024;

std::string some_text(std::size_t bytes, unsigned seed) {
  std::minstd_rand chance{seed};
  std::string out(bytes, ' ');
  for (char& c : out)
    c = "abcdefgh \n(){};=0123"[(chance() >> 8U) % 20];
  return out;
}

/// Sizes at and around the edges of pieces and blocks, many small files, some large ones.
std::vector<std::string> fill_sizes(const std::string& dir) {
  std::vector<std::string> names;
  auto file = [&](std::size_t bytes) {
    auto name = "f" + std::to_string(1000 + names.size());
    put(dir + "/" + name, some_text(bytes, static_cast<unsigned>(names.size()) + 1),
        names.size() % 3 == 0 ? 0755 : 0644);
    names.push_back(name);
  };
  for (std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{511}, std::size_t{512},
                            mib - 512, mib, mib + 1, 2 * mib - 1024, 5 * mib + 77, std::size_t{0}})
    file(bytes);
  for (std::size_t i = 0; i < 300; ++i)
    file(i * 37);
  std::filesystem::create_symlink("f1000", dir + "/g");
  names.push_back("g");
  return names;
}

result<pack_stream::finished> pack_dir(const std::string& dir,
                                       const std::vector<std::string>& names, const std::string& to,
                                       const pack_stream_options& options) {
  auto root = open_root(dir);
  REQUIRE(root.ok());
  auto stream = pack_stream::create(to, options);
  if (!stream) return stream.err();
  for (const auto& name : names) {
    auto opened = open_entry(root->get(), name);
    if (!opened) return opened.err();
    if (auto added = stream->add(std::move(*opened)); !added) return added.err();
  }
  return stream->finish();
}

/// Hashes what it is shown, and checks that each content comes whole and in order.
struct hashing_watcher : content_watcher {
  struct stream : content_stream {
    hashing_watcher& owner;
    std::string path;
    sha256 hash;
    stream(hashing_watcher& o, std::string p) : owner(o), path(std::move(p)) {}
    void data(std::string_view piece) override { hash.update(piece); }
    void end() override {
      std::lock_guard lock{owner.mutex};
      owner.seen.emplace_back(path, hash.hex());
    }
  };
  std::unique_ptr<content_stream> begin(const std::string& path) override {
    return std::make_unique<stream>(*this, path);
  }
  std::mutex mutex;
  std::vector<std::pair<std::string, std::string>> seen;
};

} // namespace

TEST_CASE("an archive has the same bytes whatever the number of workers, in both compressions") {
  temp t;
  auto names = fill_sizes(t / "in");
  for (auto form : {archive_form{compression::zstd, 1}, archive_form{compression::zstd, 6},
                    archive_form{compression::gzip, 1}, archive_form{compression::gzip, 6}}) {
    INFO(to_string(form.kind) << " " << form.level);
    std::string first;
    for (unsigned workers : {1u, 2u, 3u, 8u}) {
      pack_stream_options options;
      options.form = form;
      options.workers = workers;
      hashing_watcher watcher;
      options.watcher = &watcher;
      auto done = pack_dir(t / "in", names, t / "a", options);
      REQUIRE(done.ok());
      CHECK(done->sha256 == *sha256_of_file(t / "a"));
      CHECK(done->bytes == std::filesystem::file_size(t / "a"));
      if (first.empty()) first = done->sha256;
      CHECK(done->sha256 == first);
      auto real = manifest_of(t / "in", names);
      REQUIRE(real.ok());
      CHECK(done->entries == real->files);
      std::sort(watcher.seen.begin(), watcher.seen.end());
      REQUIRE(watcher.seen.size() == names.size());
      for (std::size_t i = 0; i < names.size(); ++i)
        CHECK(watcher.seen[i] == std::pair{names[i], real->files[i].sha256});
    }
    auto unpacked = unpack_archive(
        t / "a", t / ("there-" + std::string{to_string(form.kind)} + std::to_string(form.level)));
    REQUIRE(unpacked.ok());
    CHECK(unpacked->sha256() == manifest_of(t / "in")->sha256());
  }
}

TEST_CASE("programs of others read both compressions") {
  temp t;
  fill_sizes(t / "in");
  auto form = GENERATE(archive_form{compression::zstd, 3}, archive_form{compression::gzip, 1},
                       archive_form{compression::gzip, 9});
  pack_stream_options options;
  options.form = form;
  std::vector<std::string> names;
  auto all = manifest_of(t / "in");
  REQUIRE(all.ok());
  for (const auto& f : all->files)
    names.push_back(f.path);
  REQUIRE(pack_dir(t / "in", names, t / "a", options).ok());
  std::filesystem::create_directory(t / "there");
  run({"tar", "-C", t / "there", form.kind == compression::zstd ? "--zstd" : "--gzip", "-xf",
       t / "a"});
  CHECK(manifest_of(t / "there")->sha256() == manifest_of(t / "in")->sha256());
}

TEST_CASE("levels are those that there are, and another one makes nothing") {
  temp t;
  for (auto form : {archive_form{compression::zstd, 0}, archive_form{compression::zstd, 20},
                    archive_form{compression::gzip, 0}, archive_form{compression::gzip, 10}}) {
    auto made = pack_stream::create(t / "a", {form, 1, nullptr, nullptr});
    REQUIRE_FALSE(made.ok());
    CHECK(made.err().code == errc::bad_argument);
    CHECK(made.err().message.find(std::to_string(most_level(form.kind))) != std::string::npos);
    CHECK_FALSE(exists(t / "a"));
  }
  auto text = some_text(mib, 3);
  for (auto kind : {compression::zstd, compression::gzip}) {
    std::string out, again;
    std::size_t smallest = mib;
    for (int level = 1; level <= most_level(kind); ++level) {
      auto codec = piece_codec::make({kind, level});
      REQUIRE(codec.ok());
      auto n = (*codec)->compress(text, out);
      REQUIRE(n.ok());
      // What came before has no influence.
      REQUIRE((*codec)->compress("something else", again).ok());
      auto m = (*codec)->compress(text, again);
      REQUIRE(m.ok());
      CHECK(out.substr(0, *n) == again.substr(0, *m));
      smallest = std::min(smallest, *n);
    }
    CHECK(smallest < mib * 7 / 10);
  }
}

TEST_CASE("bytes that cannot be compressed go through both compressions") {
  temp t;
  std::mt19937 chance{5};
  std::string noise(3 * mib, '\0');
  for (char& c : noise)
    c = static_cast<char>(chance());
  put(t / "in/noise", noise);
  for (auto form : {archive_form{compression::zstd, 3}, archive_form{compression::gzip, 1},
                    archive_form{compression::gzip, 2}, archive_form{compression::gzip, 3},
                    archive_form{compression::gzip, 6}}) {
    auto done = pack_dir(t / "in", {"noise"}, t / "a", {form, 2, nullptr, nullptr});
    REQUIRE(done.ok());
    CHECK(done->bytes < noise.size() + noise.size() / 100);
    temp to;
    REQUIRE(unpack_archive(t / "a", to / "d").ok());
    CHECK(get(to / "d/noise") == noise);
  }
}

TEST_CASE("a file that shrinks, grows or cannot be read ends packing and is named") {
  temp t;
  put(t / "in/a", some_text(3 * mib, 1));
  put(t / "in/b", "bytes");
  auto root = open_root(t / "in");
  auto how = GENERATE(0, 1, 2);
  auto stream = pack_stream::create(t / "a", {{}, 2, nullptr, nullptr});
  REQUIRE(stream.ok());
  auto a = open_entry(root->get(), "a"), b = open_entry(root->get(), "b");
  REQUIRE(stream->add(std::move(*a)).ok());
  if (how == 0) put(t / "in/b", "b");
  if (how == 1) put(t / "in/b", "bytes and more");
  if (how == 2) b->file = unique_fd{::open((t / "in").c_str(), O_RDONLY | O_CLOEXEC)};
  auto added = stream->add(std::move(*b));
  REQUIRE_FALSE(added.ok());
  CHECK(added.err().code == errc::io);
  CHECK(added.err().message.find("b") == 0);
}

TEST_CASE("an error of whoever watches ends packing, and no worker waits for ever") {
  struct failing : content_watcher {
    struct stream : content_stream {
      void data(std::string_view) override { throw std::runtime_error{"no more"}; }
      void end() override {}
    };
    std::unique_ptr<content_stream> begin(const std::string&) override {
      return std::make_unique<stream>();
    }
  };
  temp t;
  put(t / "in/large", some_text(9 * mib, 1)); // many pieces wait for the first
  failing watcher;
  auto done = pack_dir(t / "in", {"large"}, t / "a", {{}, 3, nullptr, &watcher});
  REQUIRE_FALSE(done.ok());
  CHECK(done.err().code == errc::internal);
  CHECK(done.err().cause.find("no more") != std::string::npos);
}

TEST_CASE("a second name of an archive keeps its bytes when the first is packed anew") {
  repo r;
  temp t;
  r.put("a", "first");
  r.commit();
  REQUIRE(pack_worktree(r.path, t / "a.tar").ok());
  std::filesystem::create_hard_link(t / "a.tar", t / "kept");
  auto before = get(t / "kept");
  r.put("a", "second");
  REQUIRE(pack_worktree(r.path, t / "a.tar").ok());
  CHECK(get(t / "kept") == before);
  CHECK(get(t / "a.tar") != before);
}
