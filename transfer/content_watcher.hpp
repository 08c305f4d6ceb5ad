// Who looks at contents while they are packed.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace skep::transfer {

/// Sees one content, byte for byte, in order. Of a symlink: its target. Not two calls at a time.
class content_stream {
public:
  virtual ~content_stream() = default;
  virtual void data(std::string_view piece) = 0;
  /// All of it was seen.
  virtual void end() = 0;
  /// All of it at once, in place of data() and end().
  virtual void whole(std::string_view content) {
    if (!content.empty()) data(content);
    end();
  }
};

/// Gives a stream for each content that is packed. Thread-safe; several streams live at a time.
class content_watcher {
public:
  virtual ~content_watcher() = default;
  virtual std::unique_ptr<content_stream> begin(const std::string& path) = 0;

  /// What a judgement of the same bytes depends on beside them. Empty: it is never kept.
  virtual std::string rules_id() { return {}; }
  /// All that was judged, to be kept; empty when it must not be. One line.
  virtual std::string judgement() { return {}; }
  /// Takes a kept judgement over, in place of looking; false when it cannot be read.
  virtual bool recall(const std::string&) { return false; }
};

} // namespace skep::transfer
