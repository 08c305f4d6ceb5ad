// An incremental reader of multipart/form-data: bytes come in pieces of any size, parts go out as
// calls. Memory is bounded by one boundary and one part's header.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace skep::envd {

class multipart_reader {
public:
  struct handlers {
    /// Headers of a part, names in lower case.
    std::function<void(const std::map<std::string, std::string>&)> begin;
    std::function<void(std::string_view)> data;
    std::function<void()> end;
  };

  multipart_reader(std::string_view boundary, handlers h);
  /// False: the input is malformed. What a handler throws passes through.
  bool feed(std::string_view bytes);
  /// True when the closing boundary was seen.
  bool done() const { return state_ == state::done; }

private:
  enum class state { preamble, after_boundary, headers, data, done };
  bool parse_headers(std::string_view text);

  std::string delimiter_; ///< CRLF, two dashes, boundary.
  handlers handlers_;
  std::string buffer_ = "\r\n"; ///< The first boundary may lack its CRLF.
  state state_ = state::preamble;
};

/// Value of a parameter of a header such as `form-data; name="file"; filename="/a \"b\""`.
/// `filename*` is not looked at. False: there is none.
bool header_parameter(std::string_view header, std::string_view name, std::string& out);

} // namespace skep::envd
