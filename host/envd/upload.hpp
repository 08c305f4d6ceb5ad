// Uploaded files on their way to disk, piece by piece.
#pragma once

#include "host/envd/entry_info.hpp"
#include "messages/json.hpp"

#include <string>
#include <string_view>

namespace skep::envd {

/// One file being written. Throws rest_failure: 400 the path is a directory, 507 the disk is full,
/// 500.
class upload_file {
public:
  upload_file() = default;
  ~upload_file();
  upload_file(const upload_file&) = delete;
  upload_file& operator=(const upload_file&) = delete;

  /// Creates the parents (0755) and creates or truncates the file.
  void open(std::string path);
  void write(std::string_view bytes);
  /// Closes it and says what was written: {"path","name","type","metadata"?}.
  json close(const metadata& all);
  bool is_open() const { return fd_ >= 0; }

private:
  int fd_ = -1;
  std::string path_;
};

} // namespace skep::envd
