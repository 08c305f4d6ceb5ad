#include "tools/skep/files_view.hpp"

#include "tools/skep/money.hpp"
#include "tools/skep/scan_gate.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"
#include "transfer/exclude.hpp"
#include "transfer/ignore.hpp"
#include "transfer/scan_rules.hpp"

#include <algorithm>

namespace skep::cli {
namespace {

std::string files_sentence(const files_doc& d) {
  return count_text(d.files.size(), "file", "files") + ", " + size_text(d.size_bytes);
}

std::string number_text(double x) {
  auto whole = static_cast<std::int64_t>(x);
  return static_cast<double>(whole) == x ? std::to_string(whole) : money_text(x);
}

/// "about 12 s to each sandbox, by the last 5 uploads to local: 20.0 MiB/s before compression"
std::string upload_time_text(const dry_run_doc& d) {
  if (d.uploads_measured == 0) return "no upload to " + safe_line(d.provider) + " was measured yet";
  auto takes = d.upload_ms_estimated < 1000 ? std::string{"less than 1 s"}
                                            : "about " + duration_text(d.upload_ms_estimated);
  auto by = d.uploads_measured == 1 ? std::string{"upload"}
                                    : std::to_string(d.uploads_measured) + " uploads";
  return takes + " to each sandbox, by the last " + by + " to " + safe_line(d.provider) + ": "
         + size_text(d.upload_bytes_per_s) + "/s before compression";
}

/// What a dry run shows of files and of those left out; the rest is counted.
constexpr std::size_t most_files = 5, most_left_out = 20;
// Of the highest cost of the sandboxes' time.
constexpr const char* beyond_limit = "for the time up to the limit; collecting, kept sandboxes and "
                                     "successors come on top";

/// "and 7 more: skep files list --repo /work/tree"
std::string more_text(std::size_t n, const std::string& command, const std::string& repo) {
  return "and " + std::to_string(n) + " more: " + command + " --repo " + safe_line(repo);
}

} // namespace

result<files_doc> files_doc_of(const std::string& root, const transfer::inventory& files,
                               std::uint32_t largest) {
  files_doc out;
  out.root = root;
  out.size_bytes = files.size_bytes;
  out.remarks = files.remarks;
  for (const auto& f : files.files)
    out.files.push_back({f.path, f.size_bytes, f.symlink});
  if (largest > 0) {
    std::stable_sort(out.files.begin(), out.files.end(),
                     [](const auto& a, const auto& b) { return a.size_bytes > b.size_bytes; });
    if (out.files.size() > largest) out.files.resize(largest);
  }
  for (const auto& s : files.skipped)
    out.left_out.push_back({s.path, s.reason});
  auto ignored = transfer::ignored_by_git(root);
  if (!ignored) return ignored.err();
  out.ignored = std::move(*ignored);
  return out;
}

rules_doc rules_doc_now() {
  rules_doc out;
  for (auto p : transfer::always_excluded())
    out.always_excluded.emplace_back(p);
  for (auto p : transfer::default_excludes())
    out.default_excludes.emplace_back(p);
  for (const auto& r : transfer::scan_rules())
    out.scan_rules.push_back({std::string{r.name}, std::string{r.kind}, r.severity});
  return out;
}

std::string files_text(const files_doc& d) {
  std::vector<std::vector<std::string>> rows{{"SIZE", "FILE"}};
  for (const auto& f : d.files)
    rows.push_back({size_text(f.size_bytes), safe_line(f.path) + (f.symlink ? " (symlink)" : "")});
  return table(rows) + "\n" + files_sentence(d) + " of " + safe_line(d.root) + "; "
         + count_text(d.left_out.size(), "file", "files") + " left out, "
         + count_text(d.ignored.size(), "path", "paths")
         + " ignored by git (--left-out shows them)\n";
}

std::string left_out_text(const files_doc& d) {
  std::vector<std::vector<std::string>> rows{{"REASON", "PATH"}};
  for (const auto& x : d.left_out)
    rows.push_back({x.reason, safe_line(x.path)});
  for (const auto& x : d.ignored)
    rows.push_back({"ignored by git", safe_line(x)});
  return table(rows);
}

std::string why_text(const why_doc& d) {
  auto out = safe_line(d.path) + (d.travels ? " is uploaded: " : " is not uploaded: ") + d.reason;
  if (!d.rule.empty()) out += " (" + safe_line(d.rule) + ")";
  if (d.size_bytes > 0) out += ", " + size_text(d.size_bytes);
  out += "\n";
  scan_report r;
  r.findings = d.findings;
  return out + findings_text(r, finding_severity::low);
}

std::string rules_text(const rules_doc& d) {
  std::string out = "Never uploaded, whatever any file says:\n";
  for (const auto& p : d.always_excluded)
    out += "  " + p + "\n";
  out += "Left out where git does not track it; '!' and the same line in .skepignore takes it "
         "back:\n";
  for (const auto& p : d.default_excludes)
    out += "  " + p + "\n";
  std::vector<std::vector<std::string>> rows{{"SEVERITY", "KIND", "RULE"}};
  for (const auto& r : d.scan_rules)
    rows.push_back({std::string{to_string(r.severity)}, r.kind, r.name});
  return out + "Rules of the scan:\n" + table(rows);
}

std::string dry_run_text(const dry_run_doc& d) {
  std::string out;
  auto line = [&](const std::string& head, const std::string& text) {
    out += head + std::string(head.size() < 10 ? 10 - head.size() : 1, ' ') + text + "\n";
  };
  line("Run", std::to_string(d.sandboxes) + " x " + std::to_string(d.panes) + " panes of "
                  + std::string{to_string(d.agent)} + " at " + safe_line(d.provider) + " on "
                  + safe_line(d.repo));
  line("Upload", files_sentence(d.upload) + " to each sandbox, before compression; "
                     + count_text(d.upload.left_out.size(), "file", "files") + " left out");
  line("", upload_time_text(d));
  auto largest = d.upload.files;
  std::stable_sort(largest.begin(), largest.end(),
                   [](const auto& a, const auto& b) { return a.size_bytes > b.size_bytes; });
  for (std::size_t i = 0; i < std::min(largest.size(), most_files); ++i)
    line("", size_text(largest[i].size_bytes) + "  " + safe_line(largest[i].path));
  if (largest.size() > most_files)
    line("", more_text(largest.size() - most_files, "skep files list", d.repo));
  line("Scan", d.scan.alarming()
                   ? alarm_text(d.scan) + "; policy " + std::string{to_string(d.policy)}
                   : "no credentials found in " + count_text(d.scan.files, "file", "files"));
  line("Time", "at most " + duration_text(d.time_limit_ms) + " (--limit)");
  auto cost = d.usd_per_hour > 0 ? "at most " + money_text(d.time_usd_at_most) + " for "
                                       + count_text(d.sandboxes, "sandbox", "sandboxes") + " at "
                                       + money_text(d.usd_per_hour) + "/h, " + beyond_limit
                                 : std::string{"nothing for the sandboxes' time, as far as known"};
  if (d.models_cost)
    cost += d.budget_usd > 0 ? "; with models at most " + money_text(d.budget_usd) + " (--budget)"
                             : "; what models cost comes on top (--budget bounds it)";
  line("Cost", cost);
  if (!d.limits.empty()) {
    std::vector<std::vector<std::string>> rows{{"LIMIT", "NOW", "ASKED", "MOST", "EFFECT"}};
    for (const auto& b : d.limits)
      rows.push_back({b.rule, d.counts_known ? number_text(b.now) : "?", number_text(b.asked),
                      number_text(b.limit), b.effect});
    out += table(rows);
  } else {
    line("Limits", d.counts_known ? "none is met" : "none is met by this run alone");
  }
  if (!d.upload.left_out.empty()) {
    std::vector<std::vector<std::string>> rows{{"LEFT OUT", "REASON"}};
    for (const auto& x : d.upload.left_out)
      if (rows.size() <= most_left_out) rows.push_back({safe_line(x.path), x.reason});
    out += table(rows);
    if (d.upload.left_out.size() > most_left_out)
      out +=
          more_text(d.upload.left_out.size() - most_left_out, "skep files list --left-out", d.repo)
          + "\n";
  }
  for (const auto& r : d.remarks)
    line("Note", safe_line(r, 500));
  for (const auto& p : d.problems)
    line("Problem", safe_line(p, 500));
  return out
         + (d.would_start ? "The run would start. Nothing was made.\n"
                          : "The run would be refused. Nothing was made.\n");
}

json dry_run_json(const dry_run_doc& d) {
  auto out = to_json(d);
  if (d.uploads_measured == 0) out["upload_ms_estimated"] = out["upload_bytes_per_s"] = nullptr;
  return out;
}

} // namespace skep::cli
