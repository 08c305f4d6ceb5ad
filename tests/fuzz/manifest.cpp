// The canonical text of a manifest: it has one form alone, or the digest would say nothing.
#include "tests/fuzz/targets.hpp"
#include "transfer/beneath.hpp"
#include "transfer/kept.hpp"

#include <set>

using namespace skep;

namespace manifest_target {
namespace {

using transfer::file_entry;
using transfer::manifest;

bool same(const manifest& a, const manifest& b) {
  return a.files == b.files && a.total_bytes == b.total_bytes;
}

void as_text(std::string_view text) {
  manifest m;
  if (!transfer::parse_manifest(text, m)) return;
  fuzz::require(transfer::manifest_text(m) == text, "what is read as a manifest is its one form");
  auto sorted = m;
  sorted.finish();
  fuzz::require(same(sorted, m), "files are sorted and their sizes add up");
  for (std::size_t i = 0; i < m.files.size(); ++i) {
    const auto& f = m.files[i];
    fuzz::require(transfer::safe_relative(f.path), "no path leaves the tree");
    fuzz::require(i == 0 || m.files[i - 1].path != f.path, "a path is there once");
    fuzz::require(f.size <= m.total_bytes, "sizes do not overflow");
  }
  // One byte less is another manifest or none.
  manifest less;
  if (transfer::parse_manifest(text.substr(0, text.size() - 1), less))
    fuzz::require(less.sha256() != m.sha256(), "no byte is without meaning");
}

/// A manifest of the input's lines: "fPATH", "xPATH", "lPATH".
void as_files(std::string_view text) {
  manifest m;
  std::set<std::string> seen;
  for (std::size_t n = 1; !text.empty(); n = n * 7 + 3) {
    auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.size() < 2 || !transfer::safe_relative(line.substr(1))) continue;
    file_entry f;
    f.path = line.substr(1);
    if (!seen.insert(f.path).second) continue;
    f.type = line[0] == 'l' ? file_entry::kind::symlink : file_entry::kind::file;
    f.mode = line[0] == 'x' ? 0755 : 0644;
    f.size = n & 0xffffffffu;
    f.sha256 = std::string(64, "0123456789abcdef"[n % 16]);
    m.files.push_back(std::move(f));
  }
  m.finish();
  auto written = transfer::manifest_text(m);
  manifest again;
  fuzz::require(transfer::parse_manifest(written, again) && same(m, again),
                "a manifest survives its text, whatever its names are");
  fuzz::require(again.sha256() == m.sha256(), "its digest, too");
}

} // namespace
} // namespace manifest_target

void skep::fuzz::run_manifest(input in) {
  using namespace manifest_target;
  if (in.choice() % 2 == 0)
    as_text(in.rest());
  else
    as_files(in.rest());
}
