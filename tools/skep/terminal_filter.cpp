#include "tools/skep/terminal_filter.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace skep::cli {
namespace {

constexpr unsigned char escape_byte = 0x1b, cancel = 0x18, substitute = 0x1a, bell = 0x07;
constexpr std::size_t longest_sequence = 128;
constexpr int largest_number = 9999; // "repeat a million times" is no layout
constexpr std::string_view replacement = "\xef\xbf\xbd";

/// Controls that move or ring: BEL BS HT LF VT FF CR SO SI. Not ENQ, which the terminal answers.
bool plain_control(unsigned char c) {
  return c >= 0x07 && c <= 0x0f;
}

/// ANSI sequences that draw: characters, lines, cursor, colours, margins. Not tab stops (CSI g,
/// ESC H): nothing puts them back.
constexpr std::string_view drawing = "@ABCDEFGHIJKLMPSTXZ`abdefmrsu";

/// Private modes that may be switched: keys of the cursor, origin, wrap, blinking, the cursor,
/// keypad, the alternate screens, mouse, bracketed paste, synchronized output.
constexpr std::array modes{1,    6,    7,    12,   25,   47,   66,   1000, 1002,
                           1003, 1006, 1015, 1047, 1048, 1049, 2004, 2026};
/// Those that a fresh terminal has on.
constexpr std::array usually_on{7, 25};

template <class List>
bool has(const List& list, int x) {
  return std::find(list.begin(), list.end(), x) != list.end();
}

/// Numbers between ';' and ':', -1 for one that is too large; an empty one is 0.
std::vector<int> numbers_of(std::string_view text) {
  std::vector<int> out;
  for (std::size_t at = 0; at <= text.size();) {
    auto end = std::min(text.find_first_of(";:", at), text.size());
    int n = 0;
    auto piece = text.substr(at, end - at);
    auto read = std::from_chars(piece.data(), piece.data() + piece.size(), n);
    if (!piece.empty() && (read.ec != std::errc{} || n > largest_number)) n = -1;
    out.push_back(n);
    at = end + 1;
  }
  return out;
}

/// A drawing sequence is harmless with these numbers.
bool harmless(char last, const std::vector<int>& numbers) {
  if (has(numbers, -1)) return false;
  if (last == 'J') return !has(numbers, 3);   // 3: what was scrolled away
  if (last == 'T') return numbers.size() < 2; // more: mouse tracking that waits for an answer
  return true;
}

bool well_formed(std::string_view c) {
  auto at = [&](std::size_t i) { return static_cast<unsigned char>(c[i]); };
  if (at(0) == 0xc2 && at(1) < 0xa0) return false; // an 8-bit control in two bytes
  if (at(0) == 0xe0 && at(1) < 0xa0) return false; // overlong
  if (at(0) == 0xed && at(1) > 0x9f) return false; // surrogates
  if (at(0) == 0xf0 && at(1) < 0x90) return false; // overlong
  if (at(0) == 0xf4 && at(1) > 0x8f) return false; // above U+10FFFF
  return true;
}

} // namespace

std::string terminal_filter::pass(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (char c : bytes)
    step(out, static_cast<unsigned char>(c));
  return out;
}

void terminal_filter::step(std::string& out, unsigned char c) {
  switch (state_) {
  case state::text:
    return on_text(out, c);
  case state::character:
    return on_character(out, c);
  case state::escape:
    return on_escape(out, c);
  case state::intermediate:
    return on_intermediate(out, c);
  case state::sequence:
    return on_sequence(out, c);
  case state::string:
    return on_string(c);
  case state::string_escape:
    // ESC ends a string; with a backslash it is its end, else another sequence begins.
    state_ = state::text;
    if (c != '\\') on_escape(out, c);
  }
}

void terminal_filter::on_text(std::string& out, unsigned char c) {
  if (c == escape_byte) {
    state_ = state::escape;
  } else if (c < 0x20) {
    if (!plain_control(c)) return;
    charset_ = charset_ || c == 0x0e;
    out += static_cast<char>(c);
  } else if (c < 0x7f) {
    out += static_cast<char>(c);
  } else if (c >= 0xc2 && c <= 0xf4) {
    missing_ = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    pending_.assign(1, static_cast<char>(c));
    state_ = state::character;
  } else if (c != 0x7f) {
    out += replacement;
  }
}

void terminal_filter::on_character(std::string& out, unsigned char c) {
  if ((c & 0xc0) != 0x80) {
    out += replacement;
    state_ = state::text;
    return on_text(out, c);
  }
  pending_ += static_cast<char>(c);
  if (--missing_ > 0) return;
  state_ = state::text;
  out += well_formed(pending_) ? std::string_view{pending_} : replacement;
}

void terminal_filter::on_escape(std::string& out, unsigned char c) {
  state_ = state::text;
  pending_.clear();
  switch (c) {
  case '[':
    state_ = state::sequence;
    return;
  case 'P':
    lines_ = false; // pictures have lines
    state_ = state::string;
    return;
  case ']':
  case 'X':
  case '^':
  case '_':
  case 'k': // a title, in screen and tmux
    lines_ = true;
    state_ = state::string;
    return;
  case '=':
  case '>':
    keypad_ = c == '=';
    [[fallthrough]];
  case '7':
  case '8':
  case 'D':
  case 'E':
  case 'M':
    out += "\x1b";
    out += static_cast<char>(c);
    return;
  default:
    if (c >= 0x20 && c < 0x30) {
      pending_.assign(1, static_cast<char>(c));
      state_ = state::intermediate;
    } else if (c < 0x20 || c >= 0x7f) {
      on_text(out, c); // ESC was cut short
    }
  }
}

// Of these, only the line drawing characters and ASCII are let through.
void terminal_filter::on_intermediate(std::string& out, unsigned char c) {
  if (c >= 0x20 && c < 0x30 && pending_.size() < longest_sequence) {
    pending_ += static_cast<char>(c);
    return;
  }
  state_ = state::text;
  if (c < 0x20 || c >= 0x7f) return on_text(out, c);
  bool set = pending_.size() == 1 && pending_[0] >= '(' && pending_[0] <= '+';
  if (!set || (c != '0' && c != 'B')) return;
  charset_ = true;
  out += "\x1b" + pending_ + static_cast<char>(c);
}

void terminal_filter::on_sequence(std::string& out, unsigned char c) {
  if (c == escape_byte) {
    state_ = state::escape;
  } else if (c == cancel || c == substitute || c >= 0x80) {
    state_ = state::text;
    if (c >= 0x80) on_text(out, c);
  } else if (c < 0x20) {
    on_text(out, c); // terminals obey a control inside a sequence
  } else if (c >= 0x40 && c < 0x7f) {
    state_ = state::text;
    finish_sequence(out, static_cast<char>(c));
  } else if (c != 0x7f && pending_.size() <= longest_sequence) {
    pending_ += static_cast<char>(c); // a longer one is dropped at its end
  }
}

void terminal_filter::finish_sequence(std::string& out, char last) {
  if (pending_.size() > longest_sequence) return;
  std::string_view all{pending_};
  auto from = all.find_first_not_of("<=>?");
  auto prefix = all.substr(0, from);
  auto rest = from == all.npos ? std::string_view{} : all.substr(from);
  auto numbers = rest.substr(0, rest.find_first_not_of("0123456789;:"));
  auto after = rest.substr(numbers.size());
  bool mode = last == 'h' || last == 'l';
  if (prefix == "?" && mode && after.empty()) return finish_modes(out, numbers, last == 'h');
  bool good = false;
  if (prefix.empty() && after.empty() && mode) {
    good = numbers == "4"; // insert
    insert_ = good ? last == 'h' : insert_;
  } else if (prefix.empty() && after.empty()) {
    good = drawing.find(last) != drawing.npos && harmless(last, numbers_of(numbers));
    margins_ = margins_ || (good && (last == 'r' || last == 's'));
  } else if (prefix == "?" && after.empty()) {
    good = (last == 'J' || last == 'K') && harmless(last, numbers_of(numbers));
  } else if (prefix.empty() && after == " " && last == 'q') {
    good = cursor_ = true; // its form
  } else if (prefix.empty() && after == "!" && last == 'p') {
    good = true; // soft reset
  }
  if (good) out += "\x1b[" + pending_ + last;
}

void terminal_filter::finish_modes(std::string& out, std::string_view numbers, bool on) {
  std::string kept;
  for (int n : numbers_of(numbers)) {
    if (!has(modes, n)) continue;
    kept += (kept.empty() ? "" : ";") + std::to_string(n);
    auto usual = has(usually_on, n);
    auto& changed = usual ? off_ : on_;
    if (on != usual)
      changed.insert(n);
    else
      changed.erase(n);
  }
  if (!kept.empty()) out += "\x1b[?" + kept + (on ? 'h' : 'l');
}

void terminal_filter::on_string(unsigned char c) {
  if (c == escape_byte)
    state_ = state::string_escape;
  else if (c == cancel || c == substitute || c == bell || (lines_ && c == '\n'))
    state_ = state::text;
}

std::string terminal_filter::reset() const {
  std::string out;
  for (int n : on_)
    if (n != 1048) out += "\x1b[?" + std::to_string(n) + "l"; // 1048 is no state
  for (int n : off_)
    out += "\x1b[?" + std::to_string(n) + "h";
  if (insert_) out += "\x1b[4l";
  if (keypad_) out += "\x1b>";
  if (margins_)
    out += "\x1b"
           "7\x1b[r\x1b"
           "8"; // without moving the cursor
  if (charset_) out += "\x0f\x1b(B";
  if (cursor_) out += "\x1b[0 q";
  return out + "\x1b[0m";
}

} // namespace skep::cli
