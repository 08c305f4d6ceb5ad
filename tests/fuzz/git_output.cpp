// What git prints about repositories whose names strangers chose, and patches as text: what was
// written in git's form is read as it was meant, and anything else ends in a refusal.
#include "transfer/git_output.hpp"
#include "tests/fuzz/targets.hpp"
#include "transfer/patch_text.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

using namespace skep;

namespace git_output_target {
namespace {

using namespace skep::transfer;

std::string taken_together(const std::vector<std::string>& items) {
  std::string out;
  for (const auto& x : items)
    (out += x) += '\0';
  return out;
}

void items(std::string_view text) {
  auto list = split_nul(text);
  auto together = taken_together(list);
  fuzz::require(together == text || together == std::string{text} + '\0',
                "no byte of a list is lost");
  std::size_t bytes = 0;
  for (const auto& x : read_tagged(text)) {
    fuzz::require(!x.path.empty(), "a path has a name");
    bytes += x.path.size() + 2;
  }
  fuzz::require(bytes <= text.size(), "no byte is made up");
  for (const auto& path : read_status(text))
    fuzz::require(!path.empty() && text.find(path) != text.npos, "a path stands in the status");
}

void names(std::string_view text) {
  name_changes got;
  if (read_name_status(text, got)) {
    std::size_t pairs = got.renamed.size() + got.copied.size();
    std::size_t paths = got.added.size() + got.deleted.size() + got.modified.size() + 2 * pairs;
    std::size_t heads = got.added.size() + got.deleted.size() + got.modified.size() + pairs;
    fuzz::require(split_nul(text).size() == paths + heads, "every item is a letter or a name");
  }
  std::vector<numstat_line> lines;
  if (read_numstat(text, lines)) {
    fuzz::require(lines.size() == split_nul(text).size(), "every item is a file");
    for (const auto& x : lines)
      fuzz::require(!x.path.empty() && x.added >= -1 && x.deleted >= -1
                        && (x.added < 0) == (x.deleted < 0),
                    "a file has lines or is binary");
  }
}

/// Names as the input has them, in git's form, and read again.
void written(std::string_view text) {
  name_changes want;
  std::vector<numstat_line> counts;
  std::vector<tagged_path> tagged;
  std::vector<std::string> status;
  std::string in_names, in_counts, in_tags, in_status;
  auto list = split_nul(text);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto& name = list[i];
    if (name.empty()) continue;
    const auto n = static_cast<std::int64_t>(i) * 131 - 1;
    switch (name[0] & 3) {
    case 0:
      want.added.push_back(name);
      in_names += "A" + std::string(1, '\0') + name + '\0';
      break;
    case 1:
      want.modified.push_back(name);
      in_names += (i % 2 ? "T" : "M") + std::string(1, '\0') + name + '\0';
      break;
    case 2:
      want.deleted.push_back(name);
      in_names += "D" + std::string(1, '\0') + name + '\0';
      break;
    default:
      (i % 2 ? want.copied : want.renamed).emplace_back(name, name + "2");
      in_names +=
          (i % 2 ? "C075" : "R100") + std::string(1, '\0') + name + '\0' + name + "2" + '\0';
    }
    counts.push_back(i == 0 ? numstat_line{-1, -1, name} : numstat_line{n, n / 2, name});
    in_counts += i == 0 ? "-\t-\t" : std::to_string(n) + '\t' + std::to_string(n / 2) + '\t';
    (in_counts += name) += '\0';
    tagged.push_back({"HSh?"[i % 4], name});
    in_tags += std::string{"HSh?"[i % 4]} + ' ' + name + '\0';
    status.push_back(name);
    in_status += (i % 2 ? "?? " : " M ") + name + '\0';
  }
  name_changes got;
  fuzz::require(read_name_status(in_names, got) && got == want, "changes are what git said");
  std::vector<numstat_line> got_counts;
  fuzz::require(read_numstat(in_counts, got_counts) && got_counts == counts,
                "lines are what git said");
  fuzz::require(read_tagged(in_tags) == tagged, "tags are what git said");
  fuzz::require(read_status(in_status) == status, "the status is what git said");
}

void hunks(std::string_view text) {
  auto all = read_hunks(text);
  const std::vector<hunk_range> anything{{1, 1}};
  for (const auto& x : all) {
    fuzz::require(x.first >= 0 && x.count >= 0, "lines are counted from zero");
    fuzz::require(hunks_meet({x}, {x}), "a range meets itself");
  }
  fuzz::require(hunks_meet(all, anything) == hunks_meet(anything, all), "meeting is mutual");
}

/// What a patch holds, as its reader told it.
struct told : patch_sink {
  std::vector<std::string> messages;
  std::vector<std::uint64_t> lines;
  std::string others;
  bool open = false;
  void begin_message(std::uint64_t number, std::uint64_t line) override {
    fuzz::require(!open && number == messages.size() + 1, "messages come one after another");
    fuzz::require(lines.empty() || line > lines.back(), "further down each");
    open = true;
    messages.emplace_back();
    lines.push_back(line);
  }
  void message(std::string_view piece) override {
    fuzz::require(open, "text of a message lies in one");
    messages.back() += piece;
  }
  void end_message() override {
    fuzz::require(open, "a message ends once");
    open = false;
  }
  void rest(std::string_view piece) override { others += piece; }
};

told read(std::string_view text, std::size_t piece) {
  told out;
  patch_reader reader{out};
  fuzz::in_pieces(text, piece, [&](std::string_view bytes) {
    reader.feed(bytes);
    return true;
  });
  reader.finish();
  fuzz::require(!out.open, "the last message ends with the patch");
  return out;
}

void patch(std::string_view text, std::size_t piece) {
  auto whole = read(text, 0), cut = read(text, piece);
  fuzz::require(whole.messages == cut.messages && whole.lines == cut.lines
                    && whole.others == cut.others,
                "messages do not depend on the cuts");
  // Every line is on one side, and at its place.
  auto count = [](std::string_view s) { return std::count(s.begin(), s.end(), '\n'); };
  fuzz::require(count(whole.others) == count(text), "line numbers stay what they are");
  std::size_t bytes = whole.others.size();
  for (const auto& m : whole.messages)
    bytes += m.size();
  fuzz::require(bytes >= text.size(), "no byte goes unseen");
}

} // namespace
} // namespace git_output_target

void skep::fuzz::run_git_output(input in) {
  using namespace git_output_target;
  const auto wanted = in.choice();
  switch (wanted % 5) {
  case 0:
    items(in.rest());
    break;
  case 1:
    names(in.rest());
    break;
  case 2:
    written(in.rest());
    break;
  case 3:
    hunks(in.rest());
    break;
  case 4:
    patch(in.rest(), wanted / 5);
    break;
  }
}
