#include "tests/bench/pack_goals.hpp"

#include "transfer/pack_keep.hpp"
#include "transfer/scan.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <tuple>

namespace skep::bench {
namespace {

namespace fs = std::filesystem;
using transfer::archive_form;
using transfer::compression;
using seconds = std::chrono::duration<double>;

constexpr double zstd_goal = 1.0;   // times as fast as tar | zstd -3
constexpr double gzip_goal = 10;    // times as fast as tar -czf
constexpr double size_goal = 1.2;   // of the size of tar -czf
constexpr double again_goal = 5;    // times as fast when nothing changed
constexpr double memory_goal = 150; // MiB, on 1 GB
constexpr double growth_goal = 1.1; // of the memory on 100 MB
constexpr const char* sources[] = {"/usr/include", "/usr/share/doc", "/usr/lib/python3"};

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "bench_transfer: %s\n", what.c_str());
  std::exit(2);
}

template <class T>
T take(result<T> r) {
  if (!r) give_up(render(r.err()));
  return std::move(*r);
}

std::string run(std::vector<std::string> argv, const std::string& dir) {
  transfer::program p;
  p.argv = std::move(argv);
  p.working_dir = dir;
  p.limit = std::chrono::minutes{10};
  return take(transfer::run_for_output(p));
}

struct middle {
  std::vector<double> all;
  double median() const {
    auto x = all;
    std::sort(x.begin(), x.end());
    return x.empty() ? 0 : x[x.size() / 2];
  }
  std::string text(const char* format) const {
    char out[100];
    auto [least, most] = std::minmax_element(all.begin(), all.end());
    auto f = std::string{format} + " (" + format + " to " + format + ")";
    std::snprintf(out, sizeof out, f.c_str(), median(), *least, *most);
    return out;
  }
};

/// A repository of files drawn from `sources`, and then of copies that begin with another line.
double make_tree(const std::string& to, double most_mb) {
  std::vector<std::pair<std::size_t, fs::path>> files;
  for (const char* root : sources)
    for (const auto& e :
         fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied))
      if (e.is_regular_file() && !e.is_symlink())
        files.emplace_back(std::hash<std::string>{}(e.path().string()), e.path());
  if (files.empty()) give_up("there is nothing in /usr to make a tree of");
  std::sort(files.begin(), files.end()); // a sample, so that all sizes of trees are alike
  double mb = 0;
  for (unsigned copy = 0; mb < most_mb; ++copy)
    for (const auto& [hash, path] : files) {
      if (mb >= most_mb) break;
      auto name = to + "/copy" + std::to_string(copy) + path.string();
      auto text = take(transfer::read_file(path.string(), 1u << 30));
      if (copy > 0) text.insert(0, "copy " + std::to_string(copy) + "\n");
      fs::create_directories(fs::path{name}.parent_path());
      std::ofstream{name, std::ios::binary} << text;
      mb += double(text.size()) / 1e6;
    }
  run({"git", "init", "-q"}, to);
  run({"git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "-q",
       "--allow-empty", "-m", "empty"},
      to);
  return mb;
}

/// Packs and scans as the daemon does, but for the pack of HEAD.
transfer::packed pack(const std::string& tree, const std::string& to, archive_form form,
                      const std::string& keep_dir = {}, bool keep = false) {
  transfer::scan_watcher watcher{tree, {}};
  transfer::pack_options options;
  options.form = form;
  options.watcher = &watcher;
  options.head_pack = false;
  options.keep_dir = keep_dir;
  auto done = take(transfer::pack_worktree(tree, to, options));
  if (auto report = watcher.report(); !report.problem.empty()) give_up(report.problem);
  if (keep && !transfer::keep_pack(options, done, to)) give_up("the pack was not kept");
  return done;
}

template <class F>
double wall_s(F f) {
  auto before = std::chrono::steady_clock::now();
  f();
  return seconds{std::chrono::steady_clock::now() - before}.count();
}

std::uint64_t peak_kib(const std::string& tree, const char* kind) {
  return std::strtoull(
      run({fs::read_symlink("/proc/self/exe").string(), "--pack-once", tree, kind}, tree).c_str(),
      nullptr, 10);
}

bool judge(const char* what, double got, double goal, bool at_least) {
  bool met = at_least ? got >= goal : got <= goal;
  std::printf("  %-52s %8.2f (goal %s %.2f)%s\n", what, got, at_least ? ">=" : "<=", goal,
              met ? "" : "  MISSED");
  return met;
}

struct round {
  middle tar_zstd, tar_gzip, zstd, zstd_1, igzip, again;     // seconds
  middle zstd_pace, igzip_pace, zstd_czf, igzip_czf, faster; // ratios of one round
};

void measure(const std::string& tree, const std::string& dir, round& out) {
  auto list = dir + "/list";
  auto threads = "-T" + std::to_string(transfer::usual_workers());
  // The shell is a pipe's: its words are these and no others.
  out.tar_zstd.all.push_back(wall_s([&] {
    run({"sh", "-c", "tar --null -T ../list -cf - | zstd -q -3 " + threads + " -f -o ../t.zst"},
        tree);
  }));
  out.zstd.all.push_back(wall_s([&] { pack(tree, dir + "/z", {compression::zstd, 3}); }));
  out.zstd_1.all.push_back(wall_s([&] { pack(tree, dir + "/z1", {compression::zstd, 1}); }));
  out.igzip.all.push_back(wall_s([&] { pack(tree, dir + "/g", {compression::gzip, 1}); }));
  out.again.all.push_back(wall_s([&] {
    if (!pack(tree, dir + "/k", {compression::zstd, 3}, dir + "/keep").reused)
      give_up("a tree that did not change was packed anew");
  }));
  out.tar_gzip.all.push_back(wall_s([&] {
    run({"tar", "--null", "-T", list, "-czf", "../t.gz"}, tree);
  }));
  auto z = out.zstd.all.back(), g = out.igzip.all.back();
  out.zstd_pace.all.push_back(out.tar_zstd.all.back() / z);
  out.igzip_pace.all.push_back(out.tar_zstd.all.back() / g);
  out.zstd_czf.all.push_back(out.tar_gzip.all.back() / z);
  out.igzip_czf.all.push_back(out.tar_gzip.all.back() / g);
  out.faster.all.push_back(z / out.again.all.back());
}

bool memory_goals(const std::string& small, const std::string& large) {
  bool met = true;
  for (const char* kind : {"zstd", "gzip"}) {
    auto at_small = double(peak_kib(small, kind)) / 1024,
         at_large = double(peak_kib(large, kind)) / 1024;
    std::printf("%s: most memory %.1f MiB on the small tree, %.1f MiB on the large one\n", kind,
                at_small, at_large);
    met = judge("MiB on the large tree", at_large, memory_goal, false) && met;
    met = judge("times that of the small tree", at_large / at_small, growth_goal, false) && met;
  }
  return met;
}

} // namespace

int pack_once(const std::string& tree, const std::string& kind) {
  archive_form form;
  if (!from_string(kind, form.kind)) give_up("no compression " + kind);
  form.level = transfer::usual_level(form.kind);
  pack(tree, tree + "/../once", form);
  std::ifstream status{"/proc/self/status"}; // of this program, unlike ru_maxrss
  for (std::string word; status >> word;)
    if (word == "VmHWM:" && status >> word) {
      std::printf("%s\n", word.c_str());
      return 0;
    }
  return 2;
}

bool pack_goals(bool tiny) {
  auto dir = take(transfer::temp_dir::make());
  auto tree = dir.path() + "/small", large = dir.path() + "/large";
  fs::create_directory(tree);
  auto mb = make_tree(tree, tiny ? 10 : 100);
  auto paths = take(transfer::list_worktree(tree));
  std::ofstream list{dir.path() + "/list", std::ios::binary};
  for (const auto& p : paths)
    list << p << '\0';
  list.close();
  // Into memory; and by the time this is done, stamps alone prove that the files did not change.
  run({"tar", "--null", "-T", dir.path() + "/list", "-czf", "../t.gz"}, tree);
  pack(tree, dir.path() + "/k", {compression::zstd, 3}, dir.path() + "/keep", true);
  round r;
  for (int i = 0; i < (tiny ? 2 : 7); ++i)
    measure(tree, dir.path(), r);
  auto size = [&](const char* name) { return double(fs::file_size(dir.path() + "/" + name)); };
  std::printf("packing %zu files of /usr/include, /usr/share/doc, /usr/lib/python3: %.0f MB, "
              "%u workers; seconds: median (least to most)\n",
              paths.size(), mb, transfer::usual_workers());
  auto line = [&](const char* what, const middle& s, const char* file) {
    std::printf("%-34s %-28s %6.1f MB\n", what, s.text("%.3f").c_str(), size(file) / 1e6);
  };
  line("tar | zstd -3, equal threads", r.tar_zstd, "t.zst");
  line("tar -czf", r.tar_gzip, "t.gz");
  line("pack and scan, zstd 3", r.zstd, "z");
  line("the same, zstd 1 (not judged)", r.zstd_1, "z1");
  line("pack and scan, gzip 1 (igzip)", r.igzip, "g");
  line("the same again, unchanged", r.again, "k");
  bool met = true;
  for (auto& [name, pace, czf, file] : {std::tuple{"zstd 3", &r.zstd_pace, &r.zstd_czf, "z"},
                                        std::tuple{"gzip 1", &r.igzip_pace, &r.igzip_czf, "g"}}) {
    std::printf("%s: tar | zstd / pack %s, tar -czf / pack %s\n", name, pace->text("%.2f").c_str(),
                czf->text("%.1f").c_str());
    met = judge("times as fast as tar | zstd -3", pace->median(), zstd_goal, true) && met;
    met = judge("times as fast as tar -czf", czf->median(), gzip_goal, true) && met;
    met = judge("of the size of tar -czf", size(file) / size("t.gz"), size_goal, false) && met;
  }
  std::printf("unchanged: %s times as fast\n", r.faster.text("%.1f").c_str());
  met = judge("times as fast as the first time", r.faster.median(), again_goal, true) && met;
  if (tiny) return true;
  fs::create_directory(large);
  make_tree(large, 1000);
  return memory_goals(tree, large) && met;
}

} // namespace skep::bench
