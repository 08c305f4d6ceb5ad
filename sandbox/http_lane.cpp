#include "sandbox/http_lane.hpp"

#include <sys/epoll.h>

#include <cerrno>

namespace skep::sandbox {

http_lane::http_lane(int epoll, std::uint32_t number, std::size_t limit)
    : epoll_(epoll), number_(number), limit_(limit), multi_(curl_multi_init()) {
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &http_lane::socket_cb);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, static_cast<void*>(this));
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &http_lane::timer_cb);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, static_cast<void*>(this));
  curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(limit));
  curl_multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  // By default libcurl keeps four connections for each request that is just running: after a burst
  // it would close what the next one needs again.
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(limit));
}

http_lane::~http_lane() {
  curl_multi_cleanup(multi_); // calls socket_cb
}

CURLMcode http_lane::add(CURL* easy) {
  ++in_flight_;
  return curl_multi_add_handle(multi_, easy);
}

void http_lane::remove(CURL* easy) {
  --in_flight_;
  curl_multi_remove_handle(multi_, easy);
}

void http_lane::socket_ready(int fd, std::uint32_t epoll_bits) {
  int what = 0;
  if (epoll_bits & (EPOLLIN | EPOLLHUP)) what |= CURL_CSELECT_IN;
  if (epoll_bits & EPOLLOUT) what |= CURL_CSELECT_OUT;
  if (epoll_bits & EPOLLERR) what |= CURL_CSELECT_ERR;
  int running = 0;
  curl_multi_socket_action(multi_, fd, what, &running);
}

void http_lane::run_timer(time_point now) {
  if (!due_ || *due_ > now) return;
  due_.reset();
  int running = 0;
  curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
}

void http_lane::reap(const std::function<void(CURL*, CURLcode)>& ended) {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left))
    if (message->msg == CURLMSG_DONE) ended(message->easy_handle, message->data.result);
}

int http_lane::socket_cb(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept {
  auto& x = *static_cast<http_lane*>(self);
  epoll_event event{};
  event.data.u64 = std::uint64_t{x.number_} << 32U | static_cast<std::uint32_t>(fd);
  if (what == CURL_POLL_REMOVE) {
    ::epoll_ctl(x.epoll_, EPOLL_CTL_DEL, fd, &event); // may be closed already
    return 0;
  }
  if (what != CURL_POLL_OUT) event.events |= EPOLLIN;
  if (what != CURL_POLL_IN) event.events |= EPOLLOUT;
  if (::epoll_ctl(x.epoll_, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT)
    ::epoll_ctl(x.epoll_, EPOLL_CTL_ADD, fd, &event);
  return 0;
}

int http_lane::timer_cb(CURLM*, long timeout_ms, void* self) noexcept {
  auto& x = *static_cast<http_lane*>(self);
  if (timeout_ms < 0)
    x.due_.reset();
  else
    x.due_ = std::chrono::steady_clock::now() + std::chrono::milliseconds{timeout_ms};
  return 0;
}

} // namespace skep::sandbox
