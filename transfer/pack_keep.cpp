#include "transfer/pack_keep.hpp"

#include "messages/json.hpp"
#include "messages/wall_clock.hpp"
#include "transfer/beneath.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t racy_ns = 2'000'000'000;
constexpr std::size_t most_index_bytes = 1u << 30;

struct kept_head {
  std::string commit, sha256; ///< sha256 is "-" where there is no pack.
  std::uint64_t bytes = 0;
};

struct kept_index {
  std::string key;
  std::int64_t began_ns = 0;
  std::uint64_t archive_bytes = 0;
  std::string archive_sha256;
  kept_head head;
  std::string judged;
  std::vector<file_entry> files;
  std::vector<file_stamp> stamps;
};

fs::path folder_of(const std::string& keep_dir, const std::string& root) {
  return fs::path{keep_dir} / sha256_of(root).substr(0, 32);
}

/// The program that judged: another build may judge differently.
std::string program_id() {
  unique_fd self{::open("/proc/self/exe", O_PATH | O_CLOEXEC)};
  auto stamp = self ? stamp_of(self.get()) : result<file_stamp>{file_stamp{}};
  if (!stamp) return {};
  std::string out;
  for (auto n :
       {stamp->device, stamp->inode, stamp->size, static_cast<std::uint64_t>(stamp->mtime_ns),
        static_cast<std::uint64_t>(stamp->ctime_ns)})
    out += std::to_string(n) + " ";
  return out;
}

/// Empty: nothing may be kept or reused.
std::string key_of(const pack_options& options, const std::string& root) {
  auto rules = options.watcher ? options.watcher->rules_id() : "none";
  if (options.keep_dir.empty() || rules.empty()) return {};
  return sha256_of("skep-pack 1\n" + program_id() + "\n" + root + "\n" + rules + "\n"
                   + std::string{to_string(options.form.kind)} + " "
                   + std::to_string(options.form.level));
}

std::string index_text(const kept_index& x) {
  std::string out = "skep-pack 1\nkey " + x.key + "\nbegan " + std::to_string(x.began_ns)
                    + "\narchive " + std::to_string(x.archive_bytes) + " " + x.archive_sha256
                    + "\nhead " + x.head.commit + " " + std::to_string(x.head.bytes) + " "
                    + x.head.sha256 + "\njudged " + x.judged + "\nfiles "
                    + std::to_string(x.files.size()) + "\n";
  auto number = [&out](auto n) {
    char digits[24];
    auto end = std::to_chars(digits, digits + sizeof digits, n).ptr;
    out.append(digits, end);
    out += ' ';
  };
  for (std::size_t i = 0; i < x.files.size(); ++i) {
    const auto& f = x.files[i];
    const auto& s = x.stamps[i];
    out += f.type == file_entry::kind::file ? "f " : "l ";
    number(f.mode);
    number(f.size);
    out += f.sha256 + " ";
    number(s.device);
    number(s.inode);
    number(s.mode);
    number(s.size);
    number(s.mtime_ns);
    number(s.ctime_ns);
    number(f.path.size());
    out += f.path + "\n";
  }
  return out + "end " + sha256_of(out) + "\n";
}

/// Reads words and numbers off a text; good() is false once something was not as it should be.
class index_words {
public:
  explicit index_words(std::string_view text) : left_(text) {}
  bool good() const { return good_; }
  bool at_end() const { return left_.empty(); }

  std::string_view word(char end) {
    auto n = left_.find(end);
    if (n == left_.npos) return fail();
    auto out = left_.substr(0, n);
    left_.remove_prefix(n + 1);
    return out;
  }
  void expect(std::string_view text) {
    if (!left_.starts_with(text)) return static_cast<void>(fail());
    left_.remove_prefix(text.size());
  }
  template <class T>
  T number(char end) {
    auto text = word(end);
    T out{};
    auto [at, code] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (code != std::errc{} || at != text.data() + text.size()) fail();
    return out;
  }
  std::string_view bytes(std::size_t n) {
    if (n > left_.size()) return fail();
    auto out = left_.substr(0, n);
    left_.remove_prefix(n);
    return out;
  }

private:
  std::string_view fail() {
    good_ = false;
    left_ = {};
    return {};
  }
  std::string_view left_;
  bool good_ = true;
};

/// The lines before the list of files: what the pack's own files are.
void take_head(index_words& in, kept_index& out) {
  in.expect("skep-pack 1\nkey ");
  out.key = in.word('\n');
  in.expect("began ");
  out.began_ns = in.number<std::int64_t>('\n');
  in.expect("archive ");
  out.archive_bytes = in.number<std::uint64_t>(' ');
  out.archive_sha256 = in.word('\n');
  in.expect("head ");
  out.head.commit = in.word(' ');
  out.head.bytes = in.number<std::uint64_t>(' ');
  out.head.sha256 = in.word('\n');
}

std::optional<kept_index> parse_index(std::string_view text) {
  constexpr std::size_t tail_bytes = 4 + 64 + 1;
  if (text.size() < tail_bytes) return {};
  auto body = text.substr(0, text.size() - tail_bytes);
  if (text.substr(body.size()) != "end " + sha256_of(body) + "\n") return {};
  kept_index out;
  index_words in{body};
  take_head(in, out);
  in.expect("judged ");
  out.judged = in.word('\n');
  in.expect("files ");
  auto count = in.number<std::size_t>('\n');
  if (!in.good() || count > body.size()) return {};
  out.files.reserve(count);
  out.stamps.reserve(count);
  for (std::size_t i = 0; i < count && in.good(); ++i) {
    auto& f = out.files.emplace_back();
    auto& s = out.stamps.emplace_back();
    f.type = in.word(' ') == "l" ? file_entry::kind::symlink : file_entry::kind::file;
    f.mode = in.number<unsigned>(' ');
    f.size = in.number<std::uint64_t>(' ');
    f.sha256 = in.word(' ');
    s.device = in.number<std::uint64_t>(' ');
    s.inode = in.number<std::uint64_t>(' ');
    s.mode = in.number<unsigned>(' ');
    s.size = in.number<std::uint64_t>(' ');
    s.mtime_ns = in.number<std::int64_t>(' ');
    s.ctime_ns = in.number<std::int64_t>(' ');
    f.path = in.bytes(in.number<std::size_t>(' '));
    in.expect("\n");
  }
  if (!in.good() || !in.at_end()) return {};
  return out;
}

/// The same paths with the same stamps; those of files whose stamp proves nothing go to `racy`.
bool unchanged(const kept_index& kept, const listed_tree& now, std::vector<std::size_t>& racy) {
  if (now.paths.size() != kept.files.size()) return false;
  for (std::size_t i = 0; i < now.paths.size(); ++i) {
    const auto& stamp = now.stamps[i];
    if (now.paths[i] != kept.files[i].path || stamp != kept.stamps[i]) return false;
    if (std::max(stamp.mtime_ns, stamp.ctime_ns) + racy_ns > kept.began_ns) racy.push_back(i);
  }
  return true;
}

bool same_contents(const kept_index& kept, const std::string& root,
                   const std::vector<std::size_t>& which) {
  std::vector<std::string> paths;
  for (auto i : which)
    paths.push_back(kept.files[i].path);
  auto now = manifest_of(root, paths);
  if (!now || now->files.size() != which.size()) return false;
  for (std::size_t n = 0; n < which.size(); ++n)
    if (now->files[n] != kept.files[which[n]]) return false;
  return true;
}

/// A second name, or a copy on another file system; `to` is replaced. No half copy stays.
std::error_code put_at(const fs::path& from, const fs::path& to) {
  std::error_code ec, ignored;
  fs::remove(to, ec);
  fs::create_hard_link(from, to, ec);
  if (!ec) return {};
  fs::copy_file(from, to, ec);
  if (ec) fs::remove(to, ignored);
  return ec;
}

bool whole(const fs::path& file, std::uint64_t bytes, const std::string& hash) {
  std::error_code ec;
  if (fs::file_size(file, ec) != bytes || ec) return false;
  auto now = sha256_of_file(file.string());
  return now && *now == hash;
}

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t out = 0;
  std::error_code ec;
  for (fs::directory_iterator i{folder, ec}, end; !ec && i != end; i.increment(ec)) {
    auto n = i->file_size(ec);
    out += ec ? 0 : n;
    ec.clear();
  }
  return out;
}

/// Removes folders other than `but`, the one used longest ago first, until `most_bytes` are left.
void make_way(const fs::path& keep_dir, const fs::path& but, std::uint64_t most_bytes) {
  struct folder {
    fs::file_time_type used;
    fs::path path;
    std::uint64_t bytes;
  };
  std::vector<folder> all;
  std::uint64_t sum = 0;
  std::error_code ec;
  for (fs::directory_iterator i{keep_dir, ec}, end; !ec && i != end; i.increment(ec)) {
    if (i->path() == but) continue; // it is written over
    std::error_code none;           // without an index: first of all
    auto used = fs::last_write_time(i->path() / "index", none);
    all.push_back({none ? fs::file_time_type::min() : used, i->path(), bytes_below(i->path())});
    sum += all.back().bytes;
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
  for (const auto& f : all) {
    if (sum <= most_bytes) return;
    remove_tree(f.path.string());
    sum -= f.bytes;
  }
}

result<void> keep_file(const std::string& from, const fs::path& folder, const std::string& name) {
  auto next = folder / (name + ".next");
  auto ec = put_at(from, next);
  if (!ec) fs::rename(next, folder / name, ec);
  return ec ? result<void>{io_error((folder / name).string(), ec.value())} : result<void>{};
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> out;
  std::error_code ec;
  for (fs::directory_iterator i{folder, ec}, end; !ec && i != end; i.increment(ec))
    out.push_back(i->path().filename().string());
  return out;
}

/// Removes what is there under other names than these.
void remove_others(const fs::path& folder, const std::vector<std::string>& names) {
  std::error_code ec;
  for (const auto& name : names_in(folder))
    if (std::find(names.begin(), names.end(), name) == names.end()) fs::remove(folder / name, ec);
}

/// Names of the files of the pack in `folder`; none when it was not kept to its end. The list of
/// what is packed, which may be long, is not read: an index is there as a whole or not at all.
std::vector<std::string> files_of_pack(const fs::path& folder) {
  char first[4096];
  unique_fd index{::open((folder / "index").c_str(), O_RDONLY | O_CLOEXEC)};
  auto n = index ? ::read(index.get(), first, sizeof first) : -1;
  if (n <= 0) return {};
  index_words in{std::string_view{first, static_cast<std::size_t>(n)}};
  kept_index x;
  take_head(in, x);
  auto archive = x.archive_sha256 + ".archive", head = x.head.sha256 + ".head";
  std::error_code ec;
  if (!in.good() || !fs::exists(folder / archive, ec)) return {};
  return {"index", archive, head};
}

/// The files and then the index, which names nothing that is not on disk.
result<void> keep_in(const fs::path& folder, const std::string& archive_path,
                     const std::string& archive, const std::string& head_path,
                     const std::string& head, const kept_index& x) {
  if (auto kept = keep_file(archive_path, folder, archive); !kept) return kept;
  if (!head_path.empty())
    if (auto kept = keep_file(head_path, folder, head); !kept) return kept;
  if (auto done = put_on_disk(folder.string()); !done) return done;
  return write_file_durably((folder / "index").string(), index_text(x), 0600);
}

} // namespace

struct kept_pack::state {
  const pack_options& options;
  std::string root;
  fs::path folder;
  kept_index index;
};

kept_pack::kept_pack(std::unique_ptr<state> s) : s_(std::move(s)) {}
kept_pack::kept_pack(kept_pack&&) noexcept = default;
kept_pack::~kept_pack() = default;

bool kept_pack::likely(const pack_options& options, const std::string& root) {
  return !options.keep_dir.empty()
         && ::access((folder_of(options.keep_dir, root) / "index").c_str(), R_OK) == 0;
}

kept_pack kept_pack::find(const pack_options& options, const std::string& root) {
  kept_pack none{nullptr};
  auto key = key_of(options, root);
  if (key.empty()) return none;
  auto folder = folder_of(options.keep_dir, root);
  auto text = read_file((folder / "index").string(), most_index_bytes);
  if (!text) return none;
  auto index = parse_index(*text);
  if (!index || index->key != key) return none;
  if (!whole(folder / (index->archive_sha256 + ".archive"), index->archive_bytes,
             index->archive_sha256))
    return none;
  return kept_pack{std::make_unique<state>(state{options, root, folder, std::move(*index)})};
}

bool kept_pack::reuse(const listed_tree& tree, const std::string& archive_path, packed& out) {
  if (!s_) return false;
  auto now_ns = wall_ns();
  auto& kept = s_->index;
  std::vector<std::size_t> racy;
  if (!unchanged(kept, tree, racy) || !same_contents(kept, s_->root, racy)) return false;
  std::string judged;
  if (!base64_decode(kept.judged, judged)) return false;
  auto* watcher = s_->options.watcher;
  if (watcher && !watcher->recall(judged)) return false;
  if (put_at(s_->folder / (kept.archive_sha256 + ".archive"), archive_path)) return false;
  out.archive_bytes = kept.archive_bytes;
  out.archive_sha256 = kept.archive_sha256;
  out.manifest.files = std::move(kept.files);
  out.manifest.finish();
  out.stamps = std::move(kept.stamps);
  out.began_ns = now_ns;
  out.reused = true;
  return true;
}

bool kept_pack::reuse_head(const std::string& path, packed& out) const {
  if (!s_) return false;
  const auto& head = s_->index.head;
  if (head.commit != out.head || head.sha256 == "-") return false;
  auto file = s_->folder / (head.sha256 + ".head");
  if (!whole(file, head.bytes, head.sha256) || put_at(file, path)) return false;
  out.head_pack_path = path;
  out.head_pack_bytes = head.bytes;
  out.head_pack_sha256 = head.sha256;
  return true;
}

result<void> keep_pack(const pack_options& options, const packed& what,
                       const std::string& archive_path, std::uint64_t most_bytes) {
  kept_index x;
  x.key = key_of(options, what.root);
  auto judged = options.watcher ? options.watcher->judgement() : "none";
  if (x.key.empty() || judged.empty()) return {};
  if (what.archive_bytes + what.head_pack_bytes > most_bytes) return {};
  auto folder = folder_of(options.keep_dir, what.root);
  if (auto made = make_dirs(folder.string()); !made) return made;
  make_way(options.keep_dir, folder, most_bytes - what.archive_bytes - what.head_pack_bytes);
  auto archive = what.archive_sha256 + ".archive", head = what.head_pack_sha256 + ".head";
  x.began_ns = what.began_ns;
  x.archive_bytes = what.archive_bytes;
  x.archive_sha256 = what.archive_sha256;
  x.head = {what.head, what.head_pack_path.empty() ? "-" : what.head_pack_sha256,
            what.head_pack_bytes};
  x.judged = base64_encode(judged);
  x.files = what.manifest.files;
  x.stamps = what.stamps;
  auto before = names_in(folder);
  auto done = keep_in(folder, archive_path, archive, what.head_pack_path, head, x);
  remove_others(folder, done ? std::vector<std::string>{"index", archive, head} : before);
  std::error_code ec;
  if (!done && before.empty()) fs::remove(folder, ec);
  return done;
}

void sweep_packs(const std::string& keep_dir) {
  std::error_code ec;
  std::vector<fs::path> folders;
  for (fs::directory_iterator i{keep_dir, ec}, end; !ec && i != end; i.increment(ec)) {
    std::error_code unknown;
    if (fs::is_directory(i->symlink_status(unknown))) folders.push_back(i->path());
  }
  for (const auto& folder : folders) {
    auto whole_pack = files_of_pack(folder);
    if (whole_pack.empty())
      remove_tree(folder.string());
    else
      remove_others(folder, whole_pack);
  }
}

} // namespace skep::transfer
