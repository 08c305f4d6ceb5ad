#include "sandbox/http_transfer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace skep::sandbox {
namespace {

constexpr std::size_t error_body_cap = 64U << 10U;
constexpr long download_buffer_bytes = 64L << 10U;
constexpr long small_upload_buffer_bytes = 16L << 10U; // the smallest that libcurl has

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    auto u = static_cast<unsigned char>(c);
    return (u < 0x20 && c != '\t') || u == 0x7f;
  });
}

/// Requests to this machine never go through a proxy of the environment.
bool is_loopback(const std::string& url) {
  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parts{curl_url(), &curl_url_cleanup};
  if (!parts || curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return false;
  char* text = nullptr;
  if (curl_url_get(parts.get(), CURLUPART_HOST, &text, 0) != CURLUE_OK) return false;
  std::string host{text};
  curl_free(text);
  return host == "localhost" || host.starts_with("127.") || host == "[::1]" || host == "::1";
}

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trim(std::string_view text) {
  auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && space(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && space(text.back()))
    text.remove_suffix(1);
  return text;
}

} // namespace

transfer::transfer(request_id id, http_request request, http_handlers handlers,
                   steady::time_point (*now)())
    : id_(id), request_(std::move(request)), handlers_(std::move(handlers)), now_(now),
      submitted_(now()), last_data_(submitted_) {}

transfer::~transfer() {
  curl_slist_free_all(header_list_);
  if (body_fd_ >= 0) ::close(body_fd_);
}

result<void> transfer::prepare_body() {
  body_size_ = request_.body.size();
  const auto& from = request_.body_file;
  if (from.file.empty()) return {};
  body_fd_ = ::open(from.file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat facts {};
  if (body_fd_ < 0 || ::fstat(body_fd_, &facts) != 0)
    return make_error(errno == ENOENT ? errc::file_not_found : errc::io,
                      "cannot read " + from.file.string(), std::strerror(errno));
  if (!S_ISREG(facts.st_mode))
    return make_error(errc::bad_argument, from.file.string() + " is not a regular file");
  auto size = static_cast<std::uint64_t>(facts.st_size);
  auto rest = size - std::min(size, from.offset);
  body_size_ = from.bytes == file_slice::to_the_end ? rest : from.bytes;
  if (body_size_ > rest)
    return make_error(errc::io, from.file.string() + " is shorter than the part that is sent");
  return {};
}

result<void> transfer::prepare(CURL* easy, CURLSH* share, const engine_options& options,
                               std::vector<request_id>& started) {
  if (auto ready = prepare_body(); !ready) return ready;
  for (const auto& line : request_.headers) {
    // The line itself stays out of the error: it may hold a key.
    if (has_control(line))
      return make_error(errc::bad_argument, "a header holds a control character");
    header_list_ = curl_slist_append(header_list_, line.c_str());
  }
  header_list_ = curl_slist_append(header_list_, "Expect:");

  easy_ = easy;
  started_ = &started;
  auto set = [easy](CURLoption option, auto value) { curl_easy_setopt(easy, option, value); };
  set(CURLOPT_URL, request_.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  if (is_loopback(request_.url)) set(CURLOPT_NOPROXY, "*");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L); // do not wait for a resolver thread when a request is given up
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect.count()));
  // Rather share a connection being made than make one; cleartext is HTTP/1.1 and has none to
  // share.
  if (request_.url.starts_with("https:")) set(CURLOPT_PIPEWAIT, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  if (!options.ca_file.empty()) set(CURLOPT_CAINFO, options.ca_file.c_str());
  if (share) set(CURLOPT_SHARE, share);
  set(CURLOPT_ERRORBUFFER, curl_text_.data());
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_HTTPHEADER, header_list_);
  if (request_.in == lane::stream) {
    // A connection of its own: over HTTP/2 a paused stream would hold up its neighbours, since
    // libcurl 7.88 stops reading the connection.
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_BUFFERSIZE, static_cast<long>(options.stream_buffer_bytes));
    set(CURLOPT_UPLOAD_BUFFERSIZE, small_upload_buffer_bytes);
  } else {
    set(CURLOPT_ACCEPT_ENCODING, "");
    if (handlers_.on_data) set(CURLOPT_BUFFERSIZE, download_buffer_bytes);
  }

  if (request_.method == "POST" || request_.method == "PUT" || body_size_ > 0) {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body_size_));
    if (body_size_ > 0) {
      // By callback and not by POSTFIELDS: only so can seek_cb forbid that it is sent twice.
      set(CURLOPT_READFUNCTION, &transfer::read_cb);
      set(CURLOPT_READDATA, static_cast<void*>(this));
      set(CURLOPT_SEEKFUNCTION, &transfer::seek_cb);
      set(CURLOPT_SEEKDATA, static_cast<void*>(this));
    } else {
      set(CURLOPT_POSTFIELDS, "");
    }
  }
  if (request_.method != "GET" && request_.method != "POST")
    set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());

  set(CURLOPT_WRITEFUNCTION, &transfer::write_cb);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_HEADERFUNCTION, &transfer::header_cb);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  return {};
}

std::optional<steady::time_point> transfer::expires() const {
  std::optional<steady::time_point> at;
  auto limit = [&](steady::time_point from, std::optional<std::chrono::milliseconds> span) {
    if (span && (!at || from + *span < *at)) at = from + *span;
  };
  limit(submitted_, request_.limits.whole());
  if (!has_data_)
    limit(submitted_, request_.limits.first_byte());
  else if (!pause_next_)
    limit(last_data_, request_.limits.idle());
  return at;
}

bool transfer::unpause(steady::time_point now) {
  pause_next_ = false;
  last_data_ = now;
  return std::exchange(paused_, false);
}

error transfer::timeout_error() const {
  if (request_.limits.whole() && now_() - submitted_ >= *request_.limits.whole())
    return make_error(errc::timed_out, "no whole answer within "
                                           + std::to_string(request_.limits.whole()->count())
                                           + " ms");
  if (!has_data_)
    return make_error(errc::timed_out, "no answer within "
                                           + std::to_string(request_.limits.first_byte()->count())
                                           + " ms");
  return make_error(errc::timed_out, "the stream was silent for "
                                         + std::to_string(request_.limits.idle()->count()) + " ms");
}

error transfer::outcome(CURLcode code) const {
  if (own_failure_) return own_failure_;
  if (code == CURLE_OK) return {};
  std::string text = curl_text_[0] ? curl_text_.data() : curl_easy_strerror(code);
  switch (code) {
  case CURLE_URL_MALFORMAT:
    return make_error(errc::bad_argument, "not a usable URL", text);
  case CURLE_UNSUPPORTED_PROTOCOL: // also what libcurl says of an answer that is not HTTP
  case CURLE_WEIRD_SERVER_REPLY:
  case CURLE_BAD_CONTENT_ENCODING:
    return make_error(errc::protocol, {}, text);
  case CURLE_OUT_OF_MEMORY:
  case CURLE_FAILED_INIT:
    return make_error(errc::internal, {}, text);
  default: // resolve, connect (also its time limit), TLS, send, receive, body cut short
    return make_error(errc::network, {}, text);
  }
}

std::size_t transfer::write_cb(char* data, std::size_t size, std::size_t count,
                               void* self) noexcept {
  return static_cast<transfer*>(self)->take({data, size * count});
}

void transfer::answer_began() {
  curl_off_t sent = 0;
  curl_easy_getinfo(easy_, CURLINFO_SIZE_UPLOAD_T, &sent);
  // Setting the size drops the buffer, and without a body to send it is not made again. Not while
  // an early answer overtakes the body.
  if (request_.in == lane::stream && static_cast<std::uint64_t>(sent) == body_size_)
    curl_easy_setopt(easy_, CURLOPT_UPLOAD_BUFFERSIZE, small_upload_buffer_bytes);
}

std::size_t transfer::take(std::string_view data) {
  if (pause_next_) {
    paused_ = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  last_data_ = now_();
  if (!std::exchange(has_data_, true) && request_.limits.idle()) started_->push_back(id_);
  const bool good = answer_.status / 100 == 2;
  if (good && handlers_.on_data) {
    switch (handlers_.on_data(data)) {
    case flow::go_on:
      break;
    case flow::pause:
      pause_next_ = true;
      break;
    case flow::stop:
      own_failure_ = make_error(errc::cancelled);
      return CURL_WRITEFUNC_ERROR;
    }
    return data.size();
  }
  if (!good) {
    answer_.body.append(
        data.substr(0, error_body_cap - std::min(error_body_cap, answer_.body.size())));
    return data.size();
  }
  if (answer_.body.size() + data.size() > request_.body_cap_bytes) {
    own_failure_ =
        make_error(errc::too_large, "the answer is longer than "
                                        + std::to_string(request_.body_cap_bytes) + " bytes");
    return CURL_WRITEFUNC_ERROR;
  }
  answer_.body.append(data);
  return data.size();
}

std::size_t transfer::read_cb(char* out, std::size_t size, std::size_t count, void* self) noexcept {
  return static_cast<transfer*>(self)->give(out, size * count);
}

std::size_t transfer::give(char* out, std::size_t room) {
  auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(room, body_size_ - body_sent_));
  if (wanted == 0) return 0;
  if (body_fd_ < 0) {
    std::memcpy(out, request_.body.data() + body_sent_, wanted);
    return given(wanted);
  }
  ssize_t got;
  do
    got =
        ::pread(body_fd_, out, wanted, static_cast<off_t>(request_.body_file.offset + body_sent_));
  while (got < 0 && errno == EINTR);
  if (got <= 0) {
    own_failure_ = make_error(errc::io, "cannot read " + request_.body_file.file.string(),
                              got < 0 ? std::strerror(errno) : "it shrank while it was sent");
    return CURL_READFUNC_ABORT;
  }
  return given(static_cast<std::size_t>(got));
}

std::size_t transfer::given(std::size_t bytes) {
  body_sent_ += bytes;
  if (handlers_.on_sent) handlers_.on_sent(body_sent_);
  return bytes;
}

int transfer::seek_cb(void* self, curl_off_t offset, int origin) noexcept {
  auto& x = *static_cast<transfer*>(self);
  if (x.request_.once || origin != SEEK_SET || offset < 0) return CURL_SEEKFUNC_FAIL;
  x.body_sent_ = static_cast<std::uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

std::size_t transfer::header_cb(char* data, std::size_t size, std::size_t count,
                                void* self) noexcept {
  static_cast<transfer*>(self)->head_line({data, size * count});
  return size * count;
}

void transfer::head_line(std::string_view line) {
  if (line.starts_with("HTTP/")) { // a new head: also after 100 Continue
    answer_.headers.clear();
    answer_.status = 0;
    auto space = line.find(' ');
    if (space == std::string_view::npos) return;
    for (char c : line.substr(space + 1, 3))
      if (c >= '0' && c <= '9') answer_.status = answer_.status * 10 + (c - '0');
    return;
  }
  auto colon = line.find(':');
  if (colon == std::string_view::npos) return;
  auto& value = answer_.headers[lower(trim(line.substr(0, colon)))];
  if (!value.empty()) value += ", ";
  value += trim(line.substr(colon + 1));
}

} // namespace skep::sandbox
