// Showing pieces of pane logs: as they are into files and pipes, made safe on a terminal, line by
// line with the pane's name when there are several, or as JSON lines.
#pragma once

#include "broker/output_client.hpp"
#include "tools/skep/app.hpp"
#include "tools/skep/term.hpp"

#include <map>

namespace skep::cli {

class log_view {
public:
  /// `names`: lines begin with the names of their panes. They do so from the second pane on in any
  /// case.
  log_view(bool json_mode, bool raw, bool names);
  /// Before anything of the pane is shown.
  void add(const found_pane& p);
  void show(const broker::pane_output& piece);
  /// Writes unfinished lines.
  void finish();

private:
  struct pane {
    std::string name;
    std::string line; ///< Begun, not ended yet; only with names.
    safe_filter filter;
    std::uint32_t generation = 0;
  };
  void write_line(const pane& p, std::string_view text);
  bool json_;
  bool safe_;
  bool names_;
  bool in_line_ = false; ///< Without names: what was written last does not end a line.
  std::map<pane_id, pane> panes_;
};

} // namespace skep::cli
