// Terminals: colours where there is a TTY, tables, and text from sandboxes made safe to show.
#pragma once

#include "messages/fields.hpp"

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace skep::cli {

/// True for a terminal that takes colours: a TTY, TERM is not "dumb", NO_COLOR is not set.
bool colours(FILE* stream);
bool is_tty(FILE* stream);
/// Columns of the terminal; 100 when there is none.
std::size_t columns(FILE* stream);

/// Rows of the terminal; 24 when there is none.
std::size_t rows(FILE* stream);

enum class tint : std::uint8_t { none, bold, dim, red, green, yellow, cyan };
/// `text` in a colour, where `stream` takes colours.
std::string style(FILE* stream, tint t, std::string_view text);

/// One line of foreign text: control characters become '?', also those of 8 bits (C1), newlines
/// become spaces. `width` > 0 cuts it to so many characters.
std::string safe_line(std::string_view text, std::size_t width = 0);

/// `text` without what goes beyond `width` columns; the colours in it stay whole.
std::string cut_line(std::string_view text, std::size_t width);
/// Columns of the longest line of `text`, without its colours.
std::size_t shown_width(std::string_view text);

/// Passes a log to a terminal: newlines, tabs and colours go through, every other control character
/// and escape sequence is dropped, and so are the 8-bit controls (C1), which terminals obey in
/// UTF-8 as well. Bytes may come in any pieces.
class safe_filter {
public:
  std::string pass(std::string_view bytes);

private:
  enum class state : std::uint8_t { text, escape, csi, string, string_escape };
  void on_text(std::string& out, char ch);
  state state_ = state::text;
  std::string pending_;
  int missing_ = 0;      ///< Bytes of the present character to come.
  bool c1_lead_ = false; ///< 0xC2 is held back: it begins the 8-bit controls.
};

/// Columns of cells, aligned, two spaces apart; the first row is the header. Colours may be in
/// cells.
std::string table(const std::vector<std::vector<std::string>>& rows);
/// As table(), for standard output. Where lines would break at its terminal, columns are left out,
/// those with the headings `first_to_go` in their order, until they do not; what is too wide even
/// then is cut. Into files and pipes everything goes.
std::string fitting_table(std::vector<std::vector<std::string>> rows,
                          std::initializer_list<std::string_view> first_to_go);

/// "12 s", "3 min 5 s", "2 h 10 min".
std::string duration_text(std::int64_t ms);
/// "45 s", "1h30m", "500ms", "2h": milliseconds; false when it is none of these.
bool parse_duration(std::string_view text, std::int64_t& ms);
/// How long ago, or "-" for no time.
std::string age_text(utc_time t);
/// "812 B", "3.4 MiB".
std::string size_text(std::uint64_t size_bytes);
/// A number and what it counts, in the form that fits: "1 file", "0 files", "3 files".
std::string count_text(std::uint64_t n, std::string_view one, std::string_view many);

} // namespace skep::cli
