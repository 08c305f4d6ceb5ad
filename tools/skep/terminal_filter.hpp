// What comes out of a sandbox on its way to a person's terminal: colours, cursor movement, erasing
// and the screens of full-screen programs go through; what could act on the terminal itself, or
// make it type something back, does not.
//
// Dropped: titles, clipboard, links and every other string sequence (OSC, DCS, APC, PM, SOS), the
// terminal's own answers (DA, DSR, DECRQM, DECRQSS, ENQ), window operations, printing, erasing of
// the scroll-back, tab stops, keyboard modes, focus reports, character set switches, 8-bit
// controls, whatever is not known here, and bytes that are no UTF-8.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace skep::cli {

/// A stream: bytes may come in any pieces, the result is the same. What goes out is whole
/// characters and whole sequences, so the terminal is never left inside one.
class terminal_filter {
public:
  std::string pass(std::string_view bytes);
  /// What puts the terminal back where its modes were changed: screen, cursor, mouse, paste, keys,
  /// margins, colours.
  std::string reset() const;

private:
  enum class state : std::uint8_t {
    text,
    character,    ///< Inside a UTF-8 character.
    escape,       ///< After ESC.
    intermediate, ///< ESC and one of SP .. /
    sequence,     ///< CSI
    string,       ///< OSC, DCS, SOS, PM, APC
    string_escape ///< ESC inside one
  };
  void step(std::string& out, unsigned char c);
  void on_text(std::string& out, unsigned char c);
  void on_character(std::string& out, unsigned char c);
  void on_escape(std::string& out, unsigned char c);
  void on_intermediate(std::string& out, unsigned char c);
  void on_sequence(std::string& out, unsigned char c);
  void on_string(unsigned char c);
  void finish_sequence(std::string& out, char last);
  void finish_modes(std::string& out, std::string_view numbers, bool on);

  state state_ = state::text;
  std::string pending_;     ///< Of a character or a sequence, without its introducer.
  std::size_t missing_ = 0; ///< Bytes of the character to come.
  bool lines_ = false;      ///< The string ends with a line, too.
  // What differs from a fresh terminal.
  std::set<int> on_, off_; ///< Private modes that were switched.
  bool insert_ = false, margins_ = false, charset_ = false, keypad_ = false, cursor_ = false;
};

} // namespace skep::cli
