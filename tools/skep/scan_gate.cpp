#include "tools/skep/scan_gate.hpp"

#include "storage/audit_spool.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"
#include "transfer/scan.hpp"

#include <cstdio>
#include <iostream>

namespace skep::cli {
namespace {

constexpr std::size_t most_shown = 20;
constexpr std::uint64_t huge_bytes = 1024ull * 1024 * 1024;
constexpr std::size_t huge_files = 50'000;

tint colour_of(finding_severity s) {
  return s == finding_severity::high     ? tint::red
         : s == finding_severity::medium ? tint::yellow
                                         : tint::dim;
}

/// What the audit log gets: places and rules, never values.
std::string subject_of(const swarm_spec& spec, const scan_report& r) {
  auto out = spec.repo + ": " + (r.problem.empty() ? "" : "not whole, " + r.problem + "; ")
             + std::to_string(r.high) + " high, " + std::to_string(r.medium) + " medium, "
             + std::to_string(r.low) + " low";
  std::size_t shown = 0;
  for (const auto& f : r.findings) {
    if (f.severity != finding_severity::high || ++shown > most_shown) break;
    out += (shown == 1 ? "; " : ", ") + f.path.substr(0, 300) + ":" + std::to_string(f.line) + " "
           + f.rule;
  }
  return out;
}

error leave(const storage::state_paths& paths, const char* operation, const swarm_spec& spec,
            const scan_report& r) {
  auto left = storage::leave_word(paths.root, operation, subject_of(spec, r));
  return left ? error{} : left.err();
}

/// Yes or no on the terminal; only "y" and "yes" are yes.
bool ask(const std::string& question) {
  std::fprintf(stderr, "%s [y/N] ", question.c_str());
  std::fflush(stderr);
  std::string answer;
  if (!std::getline(std::cin, answer)) return false;
  return answer == "y" || answer == "Y" || answer == "yes";
}

} // namespace

std::string findings_text(const scan_report& r, finding_severity least, std::string_view all) {
  std::vector<std::vector<std::string>> rows{{"SEVERITY", "KIND", "RULE", "WHERE"}};
  std::size_t more = 0;
  for (const auto& f : r.findings) {
    if (f.severity < least) continue;
    if (rows.size() > most_shown) {
      ++more;
      continue;
    }
    rows.push_back({style(stderr, colour_of(f.severity), to_string(f.severity)), f.kind, f.rule,
                    safe_line(f.path) + ":" + std::to_string(f.line)});
  }
  auto out = rows.size() > 1 ? table(rows) : std::string{};
  if (more > 0) out += std::to_string(more) + " more; " + std::string{all} + "\n";
  return out;
}

scan_report scan_upload(const swarm_spec& spec, const transfer::inventory& files,
                        std::chrono::milliseconds limit) {
  std::vector<std::string> paths;
  paths.reserve(files.files.size());
  for (const auto& f : files.files)
    paths.push_back(f.path);
  transfer::scan_options options;
  options.limit = limit;
  return transfer::scan_files(spec.repo, paths, options);
}

std::string remark_on_allowed(const swarm_spec& spec, const scan_report& r) {
  if (r.allowed == 0) return {};
  auto allowed = transfer::allow_list::read(spec.repo);
  if (!allowed || !allowed->allows_everything()) return {};
  return "WARNING: a line of " + std::string{transfer::allow_file_name}
         + " allows everything: " + count_text(r.allowed, "finding is", "findings are")
         + " uploaded as if nothing were there";
}

error pass_gate(const app& a, const storage::state_paths& paths, swarm_spec& spec,
                const scan_report& r) {
  if (!a.json_mode)
    if (auto text = findings_text(r, finding_severity::medium); !text.empty())
      std::fputs(text.c_str(), stderr);
  if (!r.alarming()) return {};
  bool asked = spec.scan == scan_policy::prompt && !a.json_mode && is_tty(stdin) && is_tty(stderr);
  if (asked && ask("Upload the work tree with " + alarm_text(r) + "?")) {
    spec.scan = scan_policy::warn;
    return leave(paths, "SCAN_ASSENTED", spec, r);
  }
  if (auto e = transfer::scan_refusal(spec.scan, r)) {
    if (auto failed = leave(paths, "SCAN_BLOCKED", spec, r)) return failed;
    return e;
  }
  remark("WARNING: the work tree is uploaded with " + alarm_text(r));
  return {};
}

std::vector<std::string> remarks_on_upload(const swarm_spec& spec,
                                           const transfer::inventory& files) {
  auto out = files.remarks;
  if (files.size_bytes >= huge_bytes || files.files.size() >= huge_files)
    out.push_back(std::to_string(files.files.size()) + " files with " + size_text(files.size_bytes)
                  + " are uploaded to "
                  + (spec.sandboxes == 1
                         ? std::string{"the sandbox"}
                         : "each of " + std::to_string(spec.sandboxes) + " sandboxes")
                  + ": `skep files list --largest 20` shows what is large, .skepignore "
                    "leaves it out");
  return out;
}

} // namespace skep::cli
