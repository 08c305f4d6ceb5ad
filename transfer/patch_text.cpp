#include "transfer/patch_text.hpp"

#include <algorithm>

namespace skep::transfer {
namespace {

/// More of a line is never needed to tell what it is.
constexpr std::size_t most_held = 512;

/// "From ID Mon Sep 17 00:00:00 2001", as format-patch begins a mail.
bool begins_mail(std::string_view line) {
  constexpr std::string_view head = "From ", tail = " Mon Sep 17 00:00:00 2001";
  if (!line.starts_with(head) || !line.ends_with(tail)) return false;
  if (line.size() < head.size() + tail.size()) return false;
  auto id = line.substr(head.size(), line.size() - head.size() - tail.size());
  return (id.size() == 40 || id.size() == 64) && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

} // namespace

void patch_reader::feed(std::string_view piece) {
  while (!piece.empty()) {
    auto newline = piece.find('\n');
    bool ends = newline != piece.npos;
    auto text = piece.substr(0, newline);
    piece.remove_prefix(ends ? newline + 1 : piece.size());
    if (!told_) {
      auto some = text.substr(0, most_held - held_.size());
      held_ += some;
      text.remove_prefix(some.size());
      if (!ends && held_.size() < most_held) return;
      line_begins(held_, ends && text.empty());
      held_.clear();
      told_ = true;
    }
    give(text, ends);
    if (ends) told_ = false;
  }
}

void patch_reader::finish() {
  if (!held_.empty()) {
    line_begins(held_, true);
    held_.clear();
  }
  told_ = false;
  end_message();
  part_ = part::rest;
}

void patch_reader::line_begins(std::string_view start, bool whole) {
  ++line_;
  if (whole && begins_mail(start)) {
    end_message();
    to_.begin_message(++messages_, line_);
    part_ = part::headers;
  } else if (part_ == part::headers && whole && start.empty()) {
    part_ = part::body;
  } else if (part_ != part::rest
             && ((whole && start == "---") || start.starts_with("diff --git "))) {
    end_message();
    part_ = part::rest;
  }
  if (open_) {
    if (part_ == part::headers && (start.starts_with(' ') || start.starts_with('\t'))) {
      ++folded_;
      start.remove_prefix(1);
      to_.message(" ");
    } else {
      to_.message(std::string(1 + folded_, '\n'));
      folded_ = 0;
      open_ = false;
    }
  }
  give(start, false);
}

void patch_reader::give(std::string_view piece, bool ends) {
  if (part_ == part::rest) {
    if (!piece.empty()) to_.rest(piece);
    if (ends) to_.rest("\n");
    return;
  }
  if (!piece.empty()) to_.message(piece);
  if (!ends) return;
  to_.rest("\n");
  if (part_ == part::headers)
    open_ = true;
  else
    to_.message("\n");
}

void patch_reader::end_message() {
  if (part_ == part::rest) return;
  if (open_) to_.message(std::string(1 + folded_, '\n'));
  open_ = false;
  folded_ = 0;
  to_.end_message();
}

} // namespace skep::transfer
