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
  log_view(bool json_mode, bool raw, const std::vector<found_pane>& panes);
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
  std::map<pane_id, pane> panes_;
};

} // namespace skep::cli
