// The scan for credentials beside bare Hyperscan with the same rules, and beside `rg -a`; packing
// beside tar.
//
//   bench_transfer [--tiny] [--tree DIR]     exit 1 when a goal is missed
//
// The tree is /usr/include unless another one is named: its regular files up to 400 MB, in order.
// All of them are read once before anything is measured. Then, by turns: reading alone, reading and
// Hyperscan over each file with a callback that does nothing, the scan as `skep run` does it, and
// rg with one pattern for each rule where it is installed. CPU time of each; the goals hold for the
// medians of the ratios. --tiny takes 20 MB and two rounds, and judges nothing.
//
// Then packing with the scan, on trees of its own (pack_goals.hpp).
#include "tests/bench/pack_goals.hpp"
#include "transfer/posix.hpp"
#include "transfer/process.hpp"
#include "transfer/scan.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sys/resource.h>

namespace {

using namespace skep;
namespace fs = std::filesystem;

constexpr double bare_goal = 0.6; // of bare Hyperscan's rate
constexpr double rg_goal = 4;     // times rg's rate

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_transfer: %s\n", what.c_str());
  std::exit(2);
}

double cpu_of(int who) {
  rusage u{};
  ::getrusage(who, &u);
  auto s = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) / 1e6; };
  return s(u.ru_utime) + s(u.ru_stime);
}

template <class F>
double cpu_s(int who, F f) {
  auto before = cpu_of(who);
  f();
  return cpu_of(who) - before;
}

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x.empty() ? 0 : x[x.size() / 2];
}

struct tree {
  std::string root;
  std::vector<std::string> paths;
  double mb = 0;
};

tree pick(const std::string& root, double most_mb) {
  tree out{fs::canonical(root).string(), {}, 0};
  std::vector<std::string> all;
  for (const auto& e :
       fs::recursive_directory_iterator(out.root, fs::directory_options::skip_permission_denied))
    if (e.is_regular_file() && !e.is_symlink())
      all.push_back(fs::relative(e.path(), out.root).string());
  std::sort(all.begin(), all.end());
  for (auto& p : all) {
    if (out.mb >= most_mb) break;
    out.mb += double(fs::file_size(out.root + "/" + p)) / 1e6;
    out.paths.push_back(std::move(p));
  }
  return out;
}

/// Reads every file; what is read goes to `f`.
template <class F>
void read_all(const tree& t, F f) {
  for (const auto& p : t.paths) {
    auto text = transfer::read_file(t.root + "/" + p, 1u << 30);
    if (!text) fail(render(text.err()));
    f(*text);
  }
}

/// CPU time of rg with the same patterns.
double rg_cpu(const tree& t, const std::string& dir) {
  std::ofstream patterns{dir + "/patterns"};
  for (const auto& r : transfer::scan_rules())
    patterns << r.pattern << "\n";
  patterns.close();
  transfer::program p;
  p.argv = {"rg", "-a", "-c", "--no-ignore", "--hidden", "-j", "1", "-f", dir + "/patterns", "--"};
  for (const auto& path : t.paths)
    p.argv.push_back(path);
  p.working_dir = t.root;
  p.limit = std::chrono::minutes{10};
  return cpu_s(RUSAGE_CHILDREN, [&] {
    auto ran = transfer::run_program(p);
    if (!ran || ran->exit_code > 1) fail(ran ? ran->err : render(ran.err()));
  });
}

bool has_rg() {
  transfer::program p;
  p.argv = {"rg", "--version"};
  auto ran = transfer::run_program(p);
  return ran && ran->good();
}

} // namespace

int main(int argc, char** argv) {
  std::string root = "/usr/include";
  bool tiny = false;
  if (argc == 4 && std::strcmp(argv[1], "--pack-once") == 0)
    return bench::pack_once(argv[2], argv[3]);
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--tiny") == 0)
      tiny = true;
    else if (std::strcmp(argv[i], "--tree") == 0 && i + 1 < argc)
      root = argv[++i];
    else
      fail(std::string{"unknown argument "} + argv[i]);
  }
  auto t = pick(root, tiny ? 20 : 400);
  auto engine = transfer::scan_engine::shared();
  if (!engine) fail(render(engine.err()));
  auto scratch = transfer::scan_scratch::make(*engine);
  if (!scratch) fail(render(scratch.err()));
  auto dir = transfer::temp_dir::make();
  if (!dir) fail(render(dir.err()));
  bool rg = has_rg();
  std::size_t bytes = 0, matches = 0;
  read_all(t, [&](const std::string& text) { bytes += text.size(); }); // into memory
  std::vector<double> reading, bare, ours, rgs, ratio, rg_ratio;
  scan_report report;
  for (int round = 0; round < (tiny ? 2 : 7); ++round) {
    reading.push_back(cpu_s(
        RUSAGE_SELF, [&] { read_all(t, [&](const std::string& text) { bytes += text.size(); }); }));
    bare.push_back(cpu_s(RUSAGE_SELF, [&] {
      read_all(t, [&](const std::string& text) {
        auto done = scratch->scan(text, [&](auto, auto, auto) { ++matches; });
        if (!done) fail(render(done.err()));
      });
    }));
    ours.push_back(cpu_s(RUSAGE_SELF, [&] { report = transfer::scan_files(t.root, t.paths); }));
    if (!report.problem.empty()) fail(report.problem);
    ratio.push_back(bare.back() / ours.back());
    if (!rg) continue;
    rgs.push_back(rg_cpu(t, dir->path()));
    rg_ratio.push_back(rgs.back() / ours.back());
  }
  auto rate = [&](const std::vector<double>& s) { return t.mb / 1000 / median(s); };
  std::printf("tree %s: %zu files, %.0f MB, %zu rules\n", t.root.c_str(), t.paths.size(), t.mb,
              transfer::scan_rules().size());
  std::printf("%-34s %8.2f GB/s of CPU\n", "reading", rate(reading));
  std::printf("%-34s %8.2f GB/s of CPU, %zu matches\n", "reading and bare Hyperscan", rate(bare),
              matches / bare.size());
  std::printf("%-34s %8.2f GB/s of CPU, %llu high, %llu medium, %llu low\n", "the scan", rate(ours),
              static_cast<unsigned long long>(report.high),
              static_cast<unsigned long long>(report.medium),
              static_cast<unsigned long long>(report.low));
  std::printf("the scan / bare Hyperscan: median %.2f (goal %.2f)\n", median(ratio), bare_goal);
  bool met = median(ratio) >= bare_goal;
  if (rg) {
    std::printf("%-34s %8.2f GB/s of CPU\n", "rg -a", rate(rgs));
    std::printf("the scan / rg -a: median %.1f (goal %.1f)\n", median(rg_ratio), rg_goal);
    met = met && median(rg_ratio) >= rg_goal;
  } else {
    std::printf("rg is not installed: not compared\n");
  }
  met = bench::pack_goals(tiny) && met;
  if (tiny) return 0;
  std::printf("%s\n", met ? "goals met" : "a goal is MISSED");
  return met ? 0 : 1;
}
