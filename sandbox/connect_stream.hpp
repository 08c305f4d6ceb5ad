// One server stream of the Connect protocol, from its first byte to its last envelope: what process
// and watch streams have in common. Internal to sandbox/; engine thread.
//
// Two limits beside those of the engine, which count bytes: the first message comes within the
// operation's deadline, and no more than policy::stream_idle passes between two whole messages, so
// that a peer that sends a byte now and then cannot hold a stream. Paused time is not counted.
#pragma once

#include "sandbox/client_core.hpp"
#include "sandbox/envelope.hpp"

namespace skep::sandbox {

class connect_stream : public std::enable_shared_from_this<connect_stream> {
public:
  connect_stream(client_core& core, call_id id, operation op) : core_(core), id_(id), op_(op) {}
  virtual ~connect_stream() = default;
  connect_stream(const connect_stream&) = delete;
  connect_stream& operator=(const connect_stream&) = delete;

  /// Goes on after a pause; true when the network may be read again.
  bool resume();
  /// The last envelope was read: what remains of the exchange needs nobody.
  bool at_end() const { return reader_.ended(); }

protected:
  /// Sends `method` with one envelope. `limit` > 0 is told to envd, `whole` is ours.
  void open(const remote& where, const char* method, std::string_view body, const std::string& user,
            std::chrono::milliseconds limit, std::optional<std::chrono::milliseconds> whole);
  /// The stream's first message was there.
  void mark_started();
  bool started() const { return started_; }
  void pause() { paused_ = true; }
  bool alive() const { return core_.alive(id_); }
  /// Ends the call with an error, after explain().
  void broken(error why);

  virtual void message(std::string_view payload) = 0;
  /// The end-of-stream envelope said that all went well.
  virtual void ended_well() = 0;
  /// Adds to an error what the caller should know.
  virtual void explain(error& why) = 0;

  client_core& core_;
  const call_id id_;

private:
  flow take(std::string_view bytes);
  /// Handles whole envelopes until one pauses or the call ends.
  void pump();
  void exchange_over(const error& failure);
  /// Looks after `delay` whether a whole message came within the idle limit, and so on.
  void watch_idle(std::chrono::milliseconds delay);
  void look();

  const operation op_;
  envelope_reader reader_;
  bool started_ = false;
  bool paused_ = false;
  client_core::steady::time_point last_message_ = client_core::steady::now();
  std::optional<error> over_; ///< The exchange has ended while we were paused.
};

} // namespace skep::sandbox
