// A patch that came back, told apart into the messages of its commits and everything else: `git
// format-patch` writes one mail for each commit, and what people read in `git log` later stands in
// no file.
//
//   From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001     <- a message begins
//   From: Ada <ada@example.org>
//   Subject: [PATCH] a long subject, which git
//    folds
//
//   Its body
//   ---                                       <- it ends here, or at "diff --git "
//    made.txt | 1 +
//   diff --git a/made.txt b/made.txt
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace skep::transfer {

/// Who gets the pieces of a patch.
class patch_sink {
public:
  virtual ~patch_sink() = default;
  /// Message `number` (from 1) begins; its first line is this line of the patch (from 1).
  virtual void begin_message(std::uint64_t number, std::uint64_t line) = 0;
  /// Text of the message; folded headers are one line, and the lines that they took follow empty,
  /// so that the line numbers stay those of the patch.
  virtual void message(std::string_view piece) = 0;
  virtual void end_message() = 0;
  /// Everything else; a line of a message is an empty line here.
  virtual void rest(std::string_view piece) = 0;
};

/// Reads a patch of any size in pieces of any size; holds at most one long line. Takes any bytes:
/// a message that looks like a patch, or holds the first line of another mail, is told apart as
/// `git mailsplit` would, and every byte goes to one of the two.
class patch_reader {
public:
  explicit patch_reader(patch_sink& to) : to_(to) {}
  void feed(std::string_view piece);
  /// The patch is over.
  void finish();

private:
  enum class part { rest, headers, body };
  void line_begins(std::string_view start, bool whole);
  void give(std::string_view piece, bool ends);
  void end_message();

  patch_sink& to_;
  part part_ = part::rest;
  std::string held_;         ///< The beginning of a line that is not told apart yet.
  bool told_ = false;        ///< The line that came last is, and goes on.
  bool open_ = false;        ///< A header line that may go on in the next one.
  std::uint64_t folded_ = 0; ///< Lines that were joined to it.
  std::uint64_t line_ = 0, messages_ = 0;
};

} // namespace skep::transfer
