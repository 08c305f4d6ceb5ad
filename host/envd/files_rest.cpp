// GET and POST /files: whole files, streamed from and to disk.
#include "host/envd/deflate.hpp"
#include "host/envd/file_answer.hpp"
#include "host/envd/handlers.hpp"
#include "host/envd/inflate.hpp"
#include "host/envd/multipart.hpp"
#include "host/envd/upload.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <set>
#include <unistd.h>

namespace skep::envd {

namespace {
constexpr std::size_t piece_bytes = 64U << 10;

std::string requested_path(services& s, exchange& x) {
  auto user = x.query("username").value_or("");
  if (!s.user.known(user)) fail(401, "error looking up user '" + user + "': no such user here");
  auto asked = x.query("path").value_or("");
  std::string out;
  if (!s.user.resolve(asked, out)) fail(400, "path '" + asked + "' is no path of this user");
  return out;
}

// ---- GET

struct open_file {
  int fd = -1;
  open_file() = default;
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  ~open_file() {
    if (fd >= 0) ::close(fd);
  }
};

// ---- POST

metadata requested_metadata(const exchange& x) {
  constexpr std::size_t key_limit = 246;
  constexpr std::size_t total_limit = 4096;
  std::size_t total = 0;
  auto out = x.headers_from("x-metadata-");
  for (const auto& [key, value] : out) {
    total += key.size() + value.size();
    bool printable =
        std::all_of(value.begin(), value.end(), [](char c) { return c >= 32 && c < 127; });
    if (!printable || key.size() > key_limit || total > total_limit)
      fail(400, "metadata must be printable ASCII with keys of at most 246 and 4096 bytes in all");
  }
  return out;
}

/// The body of an upload, decoded if it is gzip, in pieces.
class upload_body {
public:
  explicit upload_body(exchange& x) : x_(x) {
    auto encoding = x.header("Content-Encoding");
    if (encoding == "gzip")
      gzip_ = std::make_unique<gzip_decoder>();
    else if (!encoding.empty() && encoding != "identity")
      fail(400, "unsupported Content-Encoding: " + std::string{encoding});
  }
  task<void> each(std::function<void(std::string_view)> take) {
    std::vector<char> piece(piece_bytes);
    for (;;) {
      auto n = co_await x_.read_some(piece.data(), piece.size());
      if (n == 0) break;
      std::string_view bytes{piece.data(), n};
      if (!gzip_)
        take(bytes);
      else if (!gzip_->feed(bytes, take))
        fail(400, "the body is no gzip");
    }
    if (gzip_ && !gzip_->complete()) fail(400, "the gzip body is cut short");
  }

private:
  exchange& x_;
  std::unique_ptr<gzip_decoder> gzip_;
};

task<json> take_octets(exchange& x, std::string path, metadata labels) {
  upload_body body(x);
  upload_file file;
  file.open(std::move(path));
  co_await body.each([&file](std::string_view bytes) { file.write(bytes); });
  json written = json::array();
  written.push_back(file.close(labels));
  co_return written;
}

task<json> take_form(services& s, exchange& x, std::optional<std::string> path, metadata labels) {
  std::string boundary;
  if (!header_parameter(x.header("Content-Type"), "boundary", boundary) || boundary.empty())
    fail(400, "the multipart body has no boundary");
  json written = json::array();
  std::set<std::string> seen;
  upload_file file;
  multipart_reader::handlers handlers;
  handlers.begin = [&](const std::map<std::string, std::string>& headers) {
    auto i = headers.find("content-disposition");
    std::string name;
    std::string target;
    if (i == headers.end() || !header_parameter(i->second, "name", name) || name != "file") return;
    if (path) {
      target = *path;
    } else {
      std::string filename;
      header_parameter(i->second, "filename", filename);
      if (filename.empty() || !s.user.resolve(filename, target))
        fail(400, "a part has no file name that is a path of this user");
    }
    if (!seen.insert(target).second)
      fail(400, "you cannot upload multiple files to the same path '" + target + "'");
    file.open(target);
  };
  handlers.data = [&file](std::string_view bytes) {
    if (file.is_open()) file.write(bytes);
  };
  handlers.end = [&] {
    if (file.is_open()) written.push_back(file.close(labels));
  };
  multipart_reader reader(boundary, std::move(handlers));
  upload_body body(x);
  co_await body.each([&reader](std::string_view bytes) {
    if (!reader.feed(bytes)) fail(400, "the multipart body is malformed");
  });
  if (!reader.done()) fail(400, "the multipart body is cut short");
  co_return written;
}

} // namespace

task<void> files_get(services& s, exchange& x) {
  auto path = requested_path(s, x);
  open_file file;
  // O_NONBLOCK: a FIFO without a writer must not stop the whole server.
  file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file.fd < 0) {
    int number = errno;
    if (number == ENOENT || number == ENOTDIR) fail(404, "path '" + path + "' does not exist");
    fail(500, "error opening '" + path + "': " + std::strerror(number));
  }
  struct stat st {};
  if (::fstat(file.fd, &st) != 0) fail(500, "error reading '" + path + "'");
  if (S_ISDIR(st.st_mode)) fail(400, "path '" + path + "' is a directory");
  if (!S_ISREG(st.st_mode)) fail(400, "path '" + path + "' is not a regular file");

  auto size = static_cast<std::uint64_t>(st.st_size);
  std::vector<char> piece(std::min<std::uint64_t>(piece_bytes, std::max<std::uint64_t>(size, 512)));
  auto sniffed = ::pread(file.fd, piece.data(), 512, 0);
  auto plan = plan_answer(x, path.substr(path.rfind('/') + 1), size, st.st_mtime,
                          {piece.data(), static_cast<std::size_t>(std::max<ssize_t>(sniffed, 0))});
  if (co_await send_head(x, plan)) co_return;
  std::optional<gzip_encoder> packed;
  if (plan.packed) packed.emplace();
  auto range = plan.range;
  while (range.begin < range.end) {
    auto want = std::min<std::uint64_t>(piece.size(), range.end - range.begin);
    auto n = ::pread(file.fd, piece.data(), want, static_cast<off_t>(range.begin));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw peer_gone{}; // became shorter: only closing tells the client so
    range.begin += static_cast<std::uint64_t>(n);
    std::string_view bytes{piece.data(), static_cast<std::size_t>(n)};
    if (packed) {
      auto out = packed->feed(bytes, false);
      co_await x.write(out);
    } else {
      co_await x.write(bytes);
    }
  }
  if (packed) {
    auto out = packed->feed({}, true);
    co_await x.write(out);
    co_await x.end_stream();
  }
}

task<void> files_post(services& s, exchange& x) {
  std::optional<std::string> path;
  auto resolved = requested_path(s, x); // checks the user also when the parts name the paths
  if (x.query("path")) path = resolved;
  auto labels = requested_metadata(x);
  auto type = x.header("Content-Type");
  json written;
  if (type.starts_with("multipart/form-data")) {
    written = co_await take_form(s, x, path, labels);
  } else if (type.starts_with("application/octet-stream")) {
    if (!path) fail(400, "the query parameter 'path' is required");
    written = co_await take_octets(x, *path, labels);
  } else {
    fail(400, "unsupported Content-Type: " + std::string{type});
  }
  auto body = dump(written);
  co_await x.reply(200, "text/plain; charset=utf-8", body);
}

} // namespace skep::envd
