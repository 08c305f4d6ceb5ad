#include "actors/attach_desk.hpp"

#include "actors/agents/adapter.hpp"
#include "actors/swarm.hpp"

#include <deque>
#include <map>

namespace skep::actors {
namespace {

/// Ended attachments that are remembered, so that their clients hear of the end and not of nothing.
constexpr std::size_t remembered_ends = 64;
/// Beyond what a read may wait: the ATTACH answers at once, or is gone.
constexpr std::chrono::seconds answer_limit{5};

class attach_desk_impl : public domain_actor<desk_with_mailbox> {
public:
  attach_desk_impl(caf::actor_config& cfg, services_ptr svc,
                   std::shared_ptr<swarm_registry> registry)
      : domain_actor(cfg), svc_(std::move(svc)), registry_(std::move(registry)) {}

  const char* name() const override { return "attach_desk"; }

  behavior_type make_behavior() override {
    this->set_down_handler([this](caf::down_msg& d) { on_down(d.source); });
    return {[this](handle_a, const request_frame& f) { return handle(f); },
            [](done_a, const continuation& c) { c.run(); }};
  }

  void on_exit() override {
    open_.clear();
    registry_.reset();
    svc_.reset();
  }

private:
  using promise = caf::typed_response_promise<reply_frame>;

  /// Answers one request.
  struct answer {
    std::uint64_t id;
    promise to;
    void fail(error e) { to.deliver(reply_frame{protocol_version, id, std::move(e), {}}); }
    template <message R>
    void give(const R& r) {
      to.deliver(reply_frame{protocol_version, id, {}, {pack(r)}});
    }
  };

  /// An attachment, from its first request on.
  struct attachment {
    attach_open_request asked;
    attach_actor at; ///< Null until it has started.
    attach_open_reply reply;
    std::vector<answer> waiting; ///< Openings that wait for the start.
  };

  caf::result<reply_frame> handle(const request_frame& f) {
    answer to{f.id, make_response_promise<reply_frame>()};
    switch (f.command) {
    case command_traits<attach_open_request>::number:
      with<attach_open_request>(f, to, &attach_desk_impl::open);
      break;
    case command_traits<attach_read_request>::number:
      with<attach_read_request>(f, to, &attach_desk_impl::read);
      break;
    case command_traits<attach_write_request>::number:
      with<attach_write_request>(f, to, &attach_desk_impl::write);
      break;
    case command_traits<attach_close_request>::number:
      with<attach_close_request>(f, to, &attach_desk_impl::close);
      break;
    default:
      to.fail(make_error(errc::unknown_command, std::to_string(f.command)));
    }
    return to.to;
  }

  template <class R>
  void with(const request_frame& f, answer& to, void (attach_desk_impl::*work)(R, answer)) {
    auto r = unpack<R>(f.body.data);
    if (!r) return to.fail(r.err());
    if (auto e = check_attach(*r)) return to.fail(std::move(e));
    (this->*work)(std::move(*r), to);
  }

  // ---- attach.open ----
  void open(attach_open_request r, answer to) {
    if (auto i = open_.find(r.attachment); i != open_.end()) return open_again(i->second, r, to);
    if (open_.size() >= svc_->limits.attach_most)
      return to.fail(
          make_error(errc::queue_full, std::to_string(open_.size()) + " terminals are attached"));
    auto swarm = swarm_of(r);
    if (!swarm) return to.fail(swarm.err());
    if (!r.read_only && !takes_input((*swarm)->spec->agent))
      return to.fail(make_error(errc::cannot_send, "attach read-only"));
    auto id = r.attachment;
    open_[id] = {r, {}, {}, {to}};
    request((*swarm)->keeper(), record_deadline, attach_a::value, r)
        .then([this, id](const caf::strong_actor_ptr& h,
                         std::uint32_t generation) { opened(id, h, generation); },
              [this, id](caf::error& e) { not_opened(id, from_caf(e)); });
  }

  void open_again(attachment& x, const attach_open_request& r, answer to) {
    if (x.asked.pane != r.pane || x.asked.sandbox != r.sandbox || x.asked.read_only != r.read_only)
      return to.fail(make_error(errc::exists, r.attachment.value));
    if (x.at) return to.give(x.reply);
    x.waiting.push_back(to);
  }

  result<swarm_registry::context> swarm_of(const attach_open_request& r) {
    auto id = r.pane.empty() ? swarm_of_sandbox(r.sandbox) : svc_->swarm_of_pane(r.pane);
    if (!id) return id.err();
    auto found = registry_->find(*id);
    if (!found || !found->keeper()) return make_error(errc::wrong_phase, id->value + " has ended");
    return found;
  }

  result<swarm_id> swarm_of_sandbox(const sandbox_id& sandbox) {
    auto row = svc_->load_sandbox(sandbox);
    if (!row) return row.err();
    return row->swarm;
  }

  void opened(const attachment_id& id, const caf::strong_actor_ptr& h, std::uint32_t generation) {
    auto i = open_.find(id);
    if (i == open_.end()) { // closed before it was open
      caf::anon_send(caf::actor_cast<attach_actor>(h), close_a::value);
      return;
    }
    auto& x = i->second;
    x.at = caf::actor_cast<attach_actor>(h);
    x.reply = {generation};
    watched_[h->address()] = id;
    monitor(h);
    for (auto& to : std::exchange(x.waiting, {}))
      to.give(x.reply);
  }

  void not_opened(const attachment_id& id, const error& why) {
    auto node = open_.extract(id);
    if (node.empty()) return;
    for (auto& to : node.mapped().waiting)
      to.fail(why);
  }

  // ---- the others ----
  void read(attach_read_request r, answer to) {
    auto i = open_.find(r.attachment);
    if (i == open_.end() || !i->second.at) return not_here(r.attachment, i == open_.end(), to);
    auto limit = std::chrono::milliseconds{r.wait_ms} + answer_limit;
    request(i->second.at, limit, read_a::value, r)
        .then([to](attach_read_reply& x) mutable { to.give(x); },
              [to](caf::error& e) mutable {
                if (went(e)) return to.give(end_of(errc::gone));
                to.fail(from_caf(e));
              });
  }

  void write(attach_write_request r, answer to) {
    auto i = open_.find(r.attachment);
    if (i == open_.end() || !i->second.at)
      return to.fail(make_error(errc::not_found, r.attachment.value));
    request(i->second.at, answer_limit, write_a::value, r)
        .then([to](attach_write_reply& x) mutable { to.give(x); },
              [to](caf::error& e) mutable { to.fail(from_caf(e)); });
  }

  void close(attach_close_request r, answer to) {
    auto node = open_.extract(r.attachment);
    if (node.empty()) return to.give(attach_close_reply{false});
    auto& x = node.mapped();
    for (auto& waiting : x.waiting)
      waiting.fail(make_error(errc::cancelled, "it was closed"));
    if (x.at) {
      caf::anon_send(x.at, close_a::value);
      remember(r.attachment);
    }
    to.give(attach_close_reply{true});
  }

  void not_here(const attachment_id& id, bool unknown, answer to) {
    if (!unknown) return to.fail(make_error(errc::wrong_phase, "it is being opened"));
    if (std::find(ends_.begin(), ends_.end(), id) != ends_.end())
      return to.give(end_of(errc::gone));
    to.fail(make_error(errc::not_found, id.value));
  }

  static bool went(const caf::error& e) { return e == caf::sec::request_receiver_down; }

  static attach_read_reply end_of(errc code) {
    return {{}, true, make_error(code, "the attachment has ended")};
  }

  void on_down(const caf::actor_addr& source) {
    auto i = watched_.find(source);
    if (i == watched_.end()) return;
    auto id = i->second;
    watched_.erase(i);
    if (open_.erase(id) > 0) remember(id);
  }

  void remember(const attachment_id& id) {
    ends_.push_back(id);
    if (ends_.size() > remembered_ends) ends_.pop_front();
  }

  services_ptr svc_;
  std::shared_ptr<swarm_registry> registry_;
  std::map<attachment_id, attachment> open_;
  std::map<caf::actor_addr, attachment_id> watched_;
  std::deque<attachment_id> ends_;
};

} // namespace

desk_actor spawn_attach_desk(caf::scheduled_actor* parent, services_ptr svc,
                             std::shared_ptr<swarm_registry> registry) {
  return parent->spawn<attach_desk_impl>(std::move(svc), std::move(registry));
}

} // namespace skep::actors
