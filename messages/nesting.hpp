// How deep JSON of somebody else's is nested, before it is parsed: printing and copying what was
// parsed recurse, so depth would cost stack, and whoever wrote it may have nested as deep as it is
// long.
#pragma once

#include <cstddef>
#include <string_view>

namespace skep {

/// Levels of arrays and objects that foreign JSON may have.
inline constexpr int deepest_foreign_json = 200;

/// True when arrays and objects of `text` are nested deeper than `limit`. Of text that is no JSON
/// it tells the same of its brackets outside of quotes.
inline bool nested_too_deep(std::string_view text, int limit = deepest_foreign_json) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

} // namespace skep
