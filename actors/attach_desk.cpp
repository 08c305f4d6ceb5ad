#include "actors/attach_desk.hpp"

#include "actors/agents/adapter.hpp"
#include "actors/attach.hpp"
#include "actors/shell.hpp"
#include "actors/swarm.hpp"

#include <deque>
#include <map>
#include <set>

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
    for (const auto& shell : shells_)
      caf::anon_send_exit(shell, caf::exit_reason::user_shutdown);
    shells_.clear();
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

  /// What an attachment was opened for: the same again is the same attachment.
  struct wish {
    pane_id pane;
    sandbox_id sandbox;
    bool read_only = false;
    bool is_shell = false;
    bool operator==(const wish&) const = default;
  };

  /// An attachment, from its first request on.
  struct attachment {
    wish asked;
    std::vector<answer> waiting = {};        ///< Openings that wait for the start.
    attach_actor at = {};                    ///< Null until it has started.
    std::function<void(answer&)> reply = {}; ///< To who opens it; set with `at`.
    std::uint64_t number = 0;                ///< Of its life: an id may come again.
  };

  caf::result<reply_frame> handle(const request_frame& f) {
    answer to{f.id, make_response_promise<reply_frame>()};
    switch (f.command) {
    case command_traits<attach_open_request>::number:
      with<attach_open_request>(f, to, &attach_desk_impl::open);
      break;
    case command_traits<shell_open_request>::number:
      with<shell_open_request>(f, to, &attach_desk_impl::open_shell);
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
    wish asked{r.pane, r.sandbox, r.read_only, false};
    if (!is_first(r.attachment, asked, to)) return;
    auto id = r.pane.empty() ? swarm_of_sandbox(r.sandbox) : swarm_of_pane(r.pane);
    if (!id) return to.fail(id.err());
    auto swarm = running(*id);
    if (!swarm) return to.fail(swarm.err());
    if (!r.read_only && !takes_input((*swarm)->spec->agent))
      return to.fail(make_error(errc::cannot_send, "attach read-only"));
    auto number = add(r.attachment, asked, to);
    request((*swarm)->keeper(), record_deadline, attach_a::value, r)
        .then(
            [this, id = r.attachment, number](const caf::strong_actor_ptr& h,
                                              std::uint32_t generation) {
              opened(id, number, h,
                     [generation](answer& x) { x.give(attach_open_reply{generation}); });
            },
            [this, id = r.attachment, number](caf::error& e) {
              not_opened(id, number, from_caf(e));
            });
  }

  std::uint64_t add(const attachment_id& id, const wish& asked, const answer& to) {
    open_[id] = {asked, {to}, {}, {}, ++numbers_};
    return numbers_;
  }

  /// The attachment that was opened as this one; null when it was closed since.
  attachment* find(const attachment_id& id, std::uint64_t number) {
    auto i = open_.find(id);
    return i == open_.end() || i->second.number != number ? nullptr : &i->second;
  }

  /// True when nobody has opened this one before and there is room; else it is answered.
  bool is_first(const attachment_id& id, const wish& asked, answer& to) {
    if (auto i = open_.find(id); i != open_.end()) {
      open_again(i->second, id, asked, to);
      return false;
    }
    if (open_.size() < svc_->limits.attach_most) return true;
    to.fail(make_error(errc::queue_full, std::to_string(open_.size()) + " terminals are attached"));
    return false;
  }

  void open_again(attachment& x, const attachment_id& id, const wish& asked, answer& to) {
    if (x.asked != asked) return to.fail(make_error(errc::exists, id.value));
    if (x.at) return x.reply(to);
    x.waiting.push_back(to);
  }

  /// A run that has not ended.
  result<swarm_registry::context> running(const swarm_id& id) {
    auto found = registry_->find(id);
    if (!found || !found->keeper()) return make_error(errc::wrong_phase, id.value + " has ended");
    return found;
  }

  result<swarm_id> swarm_of_pane(const pane_id& pane) {
    auto row = svc_->load_pane(pane);
    if (!row) return row.err();
    return row->swarm;
  }

  result<swarm_id> swarm_of_sandbox(const sandbox_id& sandbox) {
    auto row = svc_->load_sandbox(sandbox);
    if (!row) return row.err();
    return row->swarm;
  }

  void opened(const attachment_id& id, std::uint64_t number, const caf::strong_actor_ptr& h,
              std::function<void(answer&)> reply) {
    auto* x = find(id, number);
    if (x == nullptr) { // closed before it was open
      caf::anon_send(caf::actor_cast<attach_actor>(h), close_a::value);
      return;
    }
    x->at = caf::actor_cast<attach_actor>(h);
    x->reply = std::move(reply);
    watched_[h->address()] = {id, number};
    monitor(h);
    for (auto& to : std::exchange(x->waiting, {}))
      x->reply(to);
  }

  void not_opened(const attachment_id& id, std::uint64_t number, const error& why) {
    auto* x = find(id, number);
    if (x == nullptr) return;
    auto waiting = std::move(x->waiting);
    open_.erase(id);
    for (auto& to : waiting)
      to.fail(why);
  }

  // ---- shell.open ----
  struct shell_place {
    sandbox_record box;
    std::vector<std::string> folders; ///< The first that is there counts.
  };

  void open_shell(shell_open_request r, answer to) {
    wish asked{r.pane, r.sandbox, false, true};
    if (!is_first(r.attachment, asked, to)) return;
    auto place = place_of(r);
    if (!place) return to.fail(place.err());
    auto number = add(r.attachment, asked, to);
    auto provider = place->box.provider;
    // The provider says the address: of a sandbox that was kept nobody here knows it any more.
    at_provider(svc_, provider,
                [this, r, number,
                 place = std::move(*place)](const result<std::shared_ptr<sandbox::api>>& api) {
                  if (!api) return not_opened(r.attachment, number, api.err());
                  (*api)->get(place.box.remote_id,
                              home<sandbox::detail>([this, r, number, place, api = *api](
                                                        const result<sandbox::detail>& there) {
                                start_shell(r, number, place, api, there);
                              }));
                });
  }

  result<shell_place> place_of(const shell_open_request& r) {
    shell_place out;
    auto sandbox = r.sandbox;
    if (!r.pane.empty()) {
      auto pane = svc_->load_pane(r.pane);
      if (!pane) return pane.err();
      if (pane->attempt == 0) return make_error(errc::wrong_phase, "the pane has not started");
      sandbox = pane->sandbox;
      // Panes that share a tree have no folder of their own.
      out.folders = {std::string{inside::trees} + "/" + pane->name, std::string{inside::repo}};
      if (auto live = registry_->find(pane->swarm))
        out.folders.erase(live->spec->share_tree ? out.folders.begin() : out.folders.begin() + 1);
    } else {
      out.folders = {std::string{inside::home}};
    }
    auto box = svc_->load_sandbox(sandbox);
    if (!box) return box.err();
    out.box = std::move(*box);
    if (auto e = has_no_shell(out.box)) return e;
    return out;
  }

  static error has_no_shell(const sandbox_record& box) {
    if (box.kill_intended || (box.state == phase::closed && !box.kept))
      return make_error(errc::wrong_phase, box.sandbox.value
                                               + " has ended; `skep run --keep` keeps the "
                                                 "sandboxes of a run");
    if (box.state < phase::starting)
      return make_error(errc::wrong_phase, "the sandbox is " + std::string{to_string(box.state)});
    return {};
  }

  void start_shell(const shell_open_request& r, std::uint64_t number, const shell_place& place,
                   const std::shared_ptr<sandbox::api>& api, const result<sandbox::detail>& there) {
    if (!there)
      return not_opened(r.attachment, number,
                        there.err().code == errc::not_found
                            ? make_error(errc::gone, place.box.sandbox.value)
                            : there.err());
    if (find(r.attachment, number) == nullptr) return; // closed before it was open
    auto context = std::make_shared<sandbox_context>();
    context->svc = svc_;
    context->api = api;
    context->swarm = place.box.swarm;
    context->sandbox = place.box.sandbox;
    context->address(there->address);
    shell_open_reply reply;
    if (place.box.state == phase::closed)
      reply.kept_until = std::chrono::floor<std::chrono::milliseconds>(there->end_at);
    auto h = spawn_attach(this, std::move(context), shell_plan(r, place.folders, svc_->epoch));
    shells_.insert(h);
    opened(r.attachment, number, caf::actor_cast<caf::strong_actor_ptr>(h),
           [reply](answer& to) { to.give(reply); });
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
    auto [id, number] = i->second;
    watched_.erase(i);
    std::erase_if(shells_, [&](const attach_actor& x) { return x.address() == source; });
    if (find(id, number) == nullptr) return;
    open_.erase(id);
    remember(id);
  }

  void remember(const attachment_id& id) {
    ends_.push_back(id);
    if (ends_.size() > remembered_ends) ends_.pop_front();
  }

  services_ptr svc_;
  std::shared_ptr<swarm_registry> registry_;
  std::map<attachment_id, attachment> open_;
  std::uint64_t numbers_ = 0;
  std::map<caf::actor_addr, std::pair<attachment_id, std::uint64_t>> watched_;
  std::set<attach_actor> shells_; ///< They have no supervisor: they end with this.
  std::deque<attachment_id> ends_;
};

} // namespace

desk_actor spawn_attach_desk(caf::scheduled_actor* parent, services_ptr svc,
                             std::shared_ptr<swarm_registry> registry) {
  return parent->spawn<attach_desk_impl>(std::move(svc), std::move(registry));
}

} // namespace skep::actors
