// What still lives of a selection, counted at the providers: their lists by our labels, and a GET
// for each sandbox that we believe to live and no list shows. Plain data, no actor, no call.
#pragma once

#include "actors/domain.hpp"

#include <set>

namespace skep::actors {

class survey {
public:
  /// `living`: what the tables believe to live of the selection.
  survey(selection what, std::vector<sandbox_record> living)
      : what_(std::move(what)), living_(std::move(living)) {}

  /// What a provider is asked to list: sandboxes of this installation that the selection means.
  sandbox::list_filter filter(const std::string& install_id) const;

  /// An answer that is awaited, by the name of a provider or a remote id; each is taken back by one
  /// of the three below.
  void expect(const std::string& name) { awaited_.insert(name); }
  /// Ids of the list that are meant. The provider's word alone counts, labels included.
  std::vector<std::string> listed(const std::string& provider,
                                  const std::vector<sandbox::listed>& list);
  void unanswered(const std::string& name, const error& why);
  /// Answer to the GET of one in no list: not_found is gone, any other error unanswered.
  void looked_at(const std::string& remote_id, bool lives, const error& why);

  /// Remote ids at this provider that the tables believe to live and no list has shown.
  std::vector<std::string> in_no_list(const std::string& provider) const;

  bool complete() const { return awaited_.empty(); }
  /// What is known so far; what is still awaited counts as unanswered.
  survivors_reply reply() const;

private:
  void add(const std::string& remote_id);

  selection what_;
  std::vector<sandbox_record> living_;
  std::set<std::string> awaited_;
  std::set<std::string> seen_; ///< Remote ids of the lists.
  survivors_reply so_far_;
};

} // namespace skep::actors
