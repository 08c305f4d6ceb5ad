#include "tools/skep/log_view.hpp"

namespace skep::cli {

log_view::log_view(bool json_mode, bool raw, bool names)
    : json_(json_mode), safe_(!raw && is_tty(stdout)), names_(names) {}

void log_view::add(const found_pane& p) {
  panes_[p.pane].name = p.name;
  if (names_ || panes_.size() < 2) return;
  names_ = true;
  if (in_line_) print_line({}); // so that the first name begins a line
}

void log_view::write_line(const pane& p, std::string_view text) {
  auto line = style(stdout, tint::cyan, p.name) + " | ";
  line += text;
  print_line(line);
}

void log_view::show(const broker::pane_output& piece) {
  if (json_) {
    print_json({{"pane", piece.pane.value},
                {"generation", piece.generation},
                {"offset", piece.offset},
                {"size_bytes", piece.data.size()},
                {"dropped_bytes", piece.dropped_bytes},
                {"text", piece.data},
                {"data", base64_encode(piece.data)}});
    return;
  }
  auto& p = panes_[piece.pane];
  if (p.generation != 0 && p.generation != piece.generation)
    remark(p.name + ": attempt " + std::to_string(piece.generation));
  p.generation = piece.generation;
  if (piece.dropped_bytes > 0)
    remark((p.name.empty() ? piece.pane.value : p.name) + ": " + std::to_string(piece.dropped_bytes)
           + " bytes before byte " + std::to_string(piece.offset)
           + " are not kept any more; the log holds its newest part");
  auto text = safe_ ? p.filter.pass(piece.data) : piece.data;
  if (!names_) {
    print_text(text);
    if (!text.empty()) in_line_ = text.back() != '\n';
    return;
  }
  p.line += text;
  constexpr std::size_t longest_line = 64 * 1024;
  std::size_t begin = 0;
  for (auto end = p.line.find('\n'); end != std::string::npos; end = p.line.find('\n', begin)) {
    write_line(p, std::string_view{p.line}.substr(begin, end - begin));
    begin = end + 1;
  }
  p.line.erase(0, begin);
  if (p.line.size() > longest_line) {
    write_line(p, p.line);
    p.line.clear();
  }
}

void log_view::finish() {
  for (auto& [id, p] : panes_)
    if (!p.line.empty()) {
      write_line(p, p.line);
      p.line.clear();
    }
}

} // namespace skep::cli
