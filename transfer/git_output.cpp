#include "transfer/git_output.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace skep::transfer {
namespace {

constexpr std::int64_t most_lines = std::numeric_limits<std::int32_t>::max();

/// A count of decimal digits and `end` behind it; false for everything else.
bool take_count(std::string_view& text, char end, std::int64_t& out) {
  auto [at, wrong] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (wrong != std::errc{} || out < 0 || at == text.data() + text.size() || *at != end)
    return false;
  text.remove_prefix(static_cast<std::size_t>(at - text.data()) + 1);
  return true;
}

/// "FIRST,COUNT " or "FIRST ".
bool read_range(std::string_view text, hunk_range& out) {
  out.count = 1;
  auto head = text.substr(0, text.find(' '));
  if (head.size() == text.size()) return false;
  if (head.find(',') == head.npos) return take_count(text, ' ', out.first);
  return take_count(text, ',', out.first) && take_count(text, ' ', out.count);
}

/// Calls `take` with each item of a list that NUL bytes end.
template <class Take>
void each_item(std::string_view text, Take take) {
  while (!text.empty()) {
    auto end = std::min(text.find('\0'), text.size());
    take(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

} // namespace

std::vector<std::string> split_nul(std::string_view text) {
  std::vector<std::string> out;
  each_item(text, [&](std::string_view item) { out.emplace_back(item); });
  return out;
}

std::vector<tagged_path> read_tagged(std::string_view text) {
  std::vector<tagged_path> out;
  each_item(text, [&](std::string_view item) {
    if (item.size() > 2 && item[1] == ' ') out.push_back({item[0], std::string{item.substr(2)}});
  });
  return out;
}

std::vector<std::string> read_status(std::string_view text) {
  std::vector<std::string> out;
  each_item(text, [&](std::string_view item) {
    if (item.size() > 3 && item[2] == ' ') out.emplace_back(item.substr(3));
  });
  return out;
}

bool read_name_status(std::string_view text, name_changes& out) {
  auto items = split_nul(text);
  for (std::size_t i = 0; i < items.size(); i += 2) {
    if (items[i].empty() || i + 1 == items.size() || items[i + 1].empty()) return false;
    auto& name = items[i + 1];
    switch (items[i][0]) {
    case 'A':
      out.added.push_back(std::move(name));
      break;
    case 'D':
      out.deleted.push_back(std::move(name));
      break;
    case 'M':
    case 'T':
      out.modified.push_back(std::move(name));
      break;
    case 'R':
    case 'C':
      if (i + 2 == items.size() || items[i + 2].empty()) return false;
      (items[i][0] == 'R' ? out.renamed : out.copied)
          .emplace_back(std::move(name), std::move(items[i + 2]));
      ++i;
      break;
    default:
      return false;
    }
  }
  return true;
}

bool read_numstat(std::string_view text, std::vector<numstat_line>& out) {
  for (const auto& item : split_nul(text)) {
    std::string_view rest{item};
    numstat_line x{-1, -1, {}};
    if (rest.starts_with("-\t-\t"))
      rest.remove_prefix(4);
    else if (!take_count(rest, '\t', x.added) || !take_count(rest, '\t', x.deleted))
      return false;
    if (rest.empty()) return false;
    x.added = std::min(x.added, most_lines);
    x.deleted = std::min(x.deleted, most_lines);
    x.path = rest;
    out.push_back(std::move(x));
  }
  return true;
}

std::vector<hunk_range> read_hunks(std::string_view diff) {
  constexpr std::string_view mark = "@@ -";
  std::vector<hunk_range> out;
  for (std::size_t at = 0; at < diff.size();) {
    auto end = std::min(diff.find('\n', at), diff.size());
    auto line = diff.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(mark)) continue;
    hunk_range r;
    if (read_range(line.substr(mark.size()), r))
      out.push_back({std::min(r.first, most_lines), std::min(r.count, most_lines)});
    else
      out.push_back({0, most_lines + 1});
  }
  return out;
}

bool hunks_meet(const std::vector<hunk_range>& a, const std::vector<hunk_range>& b) {
  constexpr std::int64_t one = 1;
  for (const auto& x : a)
    for (const auto& y : b)
      if (x.first < y.first + std::max(y.count, one) && y.first < x.first + std::max(x.count, one))
        return true;
  return false;
}

} // namespace skep::transfer
