#include "storage/state_dir.hpp"
#include "storage/secrets.hpp"
#include "tests/storage/support.hpp"

#include <fcntl.h>
#include <fstream>
#include <map>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

environment env_of(std::map<std::string, std::string> values) {
  return [values](const char* name) {
    auto i = values.find(name);
    return i == values.end() ? std::string{} : i->second;
  };
}

state_paths prepared(const fs::path& root, environment env = env_of({})) {
  auto paths = prepare_state(root, env);
  if (!paths) FAIL(render(paths.err()));
  return *paths;
}

unsigned mode_of(const fs::path& file) {
  struct stat s {};
  REQUIRE(::lstat(file.c_str(), &s) == 0);
  return s.st_mode & 0777;
}

/// Runs `work` in a child; its exit code.
template <class F>
int in_child(F work) {
  auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) ::_exit(work());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

TEST_CASE("the default state directory follows the environment") {
  CHECK(default_state_root(env_of({{"SKEP_STATE", "/x/y/../z"}})).value() == "/x/z");
  CHECK(default_state_root(env_of({{"SKEP_STATE", "rel"}})).err().code == errc::bad_config);
  if (::geteuid() == 0) {
    CHECK(default_state_root(env_of({{"HOME", "/h/u"}})).value() == "/var/lib/skep");
  } else {
    CHECK(default_state_root(env_of({{"HOME", "/h/u"}})).value() == "/h/u/.local/state/skep");
    CHECK(default_state_root(env_of({{"HOME", "/h"}, {"XDG_STATE_HOME", "/s"}})).value()
          == "/s/skep");
    CHECK(default_state_root(env_of({})).err().code == errc::bad_config);
  }
}

TEST_CASE("a prepared state directory is private and complete", "[owasp-a01]") {
  temp_dir dir;
  auto paths = prepared(dir / "deep/er/state");
  for (const auto& p :
       {paths.root, paths.run, paths.logs(), paths.backups(), paths.secrets(), paths.host()}) {
    CHECK(fs::is_directory(p));
    CHECK(mode_of(p) == 0700);
  }
  CHECK(prepared(dir / "deep/er/state/").root == paths.root); // again, and with a slash
  std::ofstream{dir / "file"} << "x";
  CHECK(prepare_state(dir / "file").err().code == errc::bad_config);
  CHECK(prepare_state("relative").err().code == errc::bad_config);
}

TEST_CASE("a folder of others is not taken for a state directory, and stays as it was") {
  temp_dir dir;
  auto shared = dir / "shared";
  fs::create_directories(shared);
  std::ofstream{shared / "letter"} << "dear";
  REQUIRE(::chmod(shared.c_str(), 0755) == 0);
  auto refused = prepare_state(shared, env_of({}));
  REQUIRE_FALSE(refused);
  CHECK(refused.err().code == errc::bad_config);
  CHECK(mode_of(shared) == 0755);
  CHECK_FALSE(fs::exists(shared / "secrets"));
  // Empty, or with the settings in it: somebody made it for us.
  auto fresh = dir / "fresh";
  fs::create_directories(fresh);
  REQUIRE(::chmod(fresh.c_str(), 0755) == 0);
  std::ofstream{fresh / "skep.toml"} << "";
  std::ofstream{fresh / "notes"} << "mine";
  prepared(fresh);
  CHECK(mode_of(fresh) == 0700);
}

TEST_CASE("sockets of a state directory with a long path live in a short one") {
  temp_dir dir;
  fs::create_directory(dir / "runtime");
  fs::permissions(dir / "runtime", fs::perms::owner_all);
  auto root = dir.path() / std::string(100, 'd');
  auto env = env_of({{"XDG_RUNTIME_DIR", dir / "runtime"}});
  auto paths = prepared(root, env);
  CHECK(paths.control_socket().string().size() <= max_socket_path_bytes);
  CHECK(paths.run.parent_path() == dir / "runtime");
  CHECK(mode_of(paths.run) == 0700);
  // A program with another environment finds the same place.
  CHECK(prepared(root).run == paths.run);
  // Without a runtime directory it is one in /tmp with our uid in its name.
  auto other = prepared(dir.path() / std::string(101, 'e'));
  CHECK(other.run.string().starts_with("/tmp/skep-" + std::to_string(::geteuid()) + "-"));
  fs::remove(other.run);
  // A place that somebody else made is not used.
  fs::create_symlink(dir / "runtime", other.run);
  CHECK(prepare_state(other.root, env_of({})).err().code == errc::bad_config);
  fs::remove(other.run);
}

TEST_CASE("a second daemon is refused and told who holds the lock") {
  temp_dir dir;
  auto paths = prepared(dir / "state");
  CHECK_FALSE(lock_holder(paths).value());
  {
    auto lock = state_lock::acquire(paths);
    REQUIRE(lock.ok());
    CHECK(lock_holder(paths).value() == ::getpid());
    CHECK((::fcntl(lock->fd(), F_GETFD) & FD_CLOEXEC) != 0);
    // In the same process, too: the lock belongs to the open file.
    CHECK(state_lock::acquire(paths).err().code == errc::daemon_running);
    auto code = in_child([&] {
      ::close(lock->fd()); // what exec would do
      auto second = state_lock::acquire(paths);
      if (second) return 1;
      auto text = second.err().message;
      return second.err().code == errc::daemon_running
                     && text.find(std::to_string(::getppid())) != std::string::npos
                 ? 0
                 : 2;
    });
    CHECK(code == 0);
    CHECK_FALSE(!state_lock::acquire(paths).err());
  }
  CHECK_FALSE(lock_holder(paths).value());
  CHECK(state_lock::acquire(paths).ok());
}

TEST_CASE("a lock goes from the starter to the daemon without a gap") {
  temp_dir dir;
  auto paths = prepared(dir / "state");
  int hold[2], ready[2];
  REQUIRE(::pipe(hold) == 0);
  REQUIRE(::pipe(ready) == 0);
  pid_t pid = -1;
  {
    auto lock = state_lock::acquire(paths);
    REQUIRE(lock.ok());
    pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::close(hold[1]);
      auto mine = state_lock::adopt(paths, ::dup(lock->fd()));
      char c = mine.ok() ? 'y' : 'n';
      if (::write(ready[1], &c, 1) != 1) ::_exit(1);
      ::_exit(::read(hold[0], &c, 1) == 0 ? 0 : 1);
    }
    char c = 0;
    REQUIRE(::read(ready[0], &c, 1) == 1);
    CHECK(c == 'y');
  } // the starter closes its descriptor; the child keeps the lock
  CHECK(lock_holder(paths).value() == pid);
  CHECK(state_lock::acquire(paths).err().code == errc::daemon_running);
  ::close(hold[1]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(state_lock::acquire(paths).ok());
  auto wrong = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(state_lock::adopt(paths, wrong).err().code == errc::bad_argument);
  ::close(wrong);
  for (int fd : {hold[0], ready[0], ready[1]})
    ::close(fd);
}

TEST_CASE("a copied, moved or carried-off state directory is refused until the user decides") {
  temp_dir dir;
  std::ofstream{dir / "machine"} << "aaaa1111\n";
  std::ofstream{dir / "other-machine"} << "bbbb2222\n";
  auto paths = prepared(dir / "state");
  auto id = install_id(paths, dir / "machine");
  REQUIRE(id.ok());
  CHECK(valid_id(*id, "in_"));
  CHECK(install_id(paths, dir / "machine").value() == *id);
  CHECK(mode_of(paths.install()) == 0600);
  CHECK(install_id(paths, dir / "other-machine").err().code == errc::copied_state);

  fs::copy(paths.root, dir / "copy", fs::copy_options::recursive);
  auto copy = prepared(dir / "copy");
  CHECK(install_id(copy, dir / "machine").err().code == errc::copied_state);
  fs::rename(dir / "state", dir / "moved");
  auto moved = prepared(dir / "moved");
  CHECK(install_id(moved, dir / "machine").err().code == errc::copied_state);

  CHECK(look_at_install(copy, dir / "machine").err().code == errc::copied_state);
  CHECK(look_at_install(prepared(dir / "new"), dir / "machine").value().empty());
  CHECK_FALSE(fs::exists(dir / "new" / "install"));
  CHECK(rebind_install(moved, rebind::keep_id, dir / "machine").value() == *id);
  CHECK(install_id(moved, dir / "machine").value() == *id);
  auto fresh = rebind_install(copy, rebind::new_id, dir / "machine");
  REQUIRE(fresh.ok());
  CHECK(*fresh != *id);
  CHECK(install_id(copy, dir / "machine").value() == *fresh);

  // A database without the file beside it, and a damaged file.
  auto third = prepared(dir / "third");
  {
    auto j = open_journal(third.database()); // `skep db migrate` on a new place does no harm
    REQUIRE(install_id(third, dir / "machine").ok());
    REQUIRE(take_epoch(j, "1", 5, at(1)).ok());
  }
  fs::remove(third.install());
  CHECK(install_id(third, dir / "machine").err().code == errc::copied_state);
  std::ofstream{third.install()} << "rubbish";
  CHECK(install_id(third, dir / "machine").err().code == errc::copied_state);
  // A machine without an id of its own.
  auto fourth = prepared(dir / "fourth");
  auto plain = install_id(fourth, dir / "no-such-file");
  REQUIRE(plain.ok());
  CHECK(install_id(fourth, dir / "no-such-file").value() == *plain);
}

TEST_CASE("secrets are kept privately and listed by name only", "[owasp-a02]") {
  temp_dir dir;
  auto paths = prepared(dir / "state");
  secret_store store{paths};
  CHECK(store.list().value().empty());
  CHECK(store.get("KEY").err().code == errc::secret_missing);
  REQUIRE(store.set("KEY", "s3cret\n").ok());
  REQUIRE(store.set("A_2", "two\nlines\n\n").ok());
  CHECK(store.get("KEY").value() == "s3cret");
  CHECK(store.get("A_2").value() == "two\nlines\n");
  CHECK(mode_of(paths.secrets() / "KEY") == 0600);
  REQUIRE(store.set("KEY", "new").ok());
  CHECK(store.get("KEY").value() == "new");
  CHECK(store.list().value() == std::vector<std::string>{"A_2", "KEY"});
  CHECK(store.has("KEY"));
  REQUIRE(store.remove("KEY").ok());
  CHECK_FALSE(store.has("KEY"));
  CHECK(store.remove("KEY").err().code == errc::secret_missing);
}

TEST_CASE("what a killed write left of a secret goes when it is set or removed, and nothing of "
          "others",
          "[owasp-a02]") {
  temp_dir dir;
  auto paths = prepared(dir / "state");
  secret_store store{paths};
  const auto left = paths.secrets() / ".KEY.abcdefgh";
  const auto of_another = paths.secrets() / ".KEY_2.abcdefgh";
  std::ofstream{of_another} << "another";
  std::ofstream{left} << "former";
  REQUIRE(store.set("KEY", "new").ok());
  CHECK_FALSE(fs::exists(left));
  CHECK(store.get("KEY").value() == "new");

  std::ofstream{left} << "former";
  REQUIRE(store.remove("KEY").ok());
  CHECK_FALSE(fs::exists(left));
  std::ofstream{left} << "of a first set";
  CHECK(store.remove("KEY").err().code == errc::secret_missing);
  CHECK_FALSE(fs::exists(left));

  CHECK(fs::exists(of_another));
  CHECK(store.remove("KEY_2").err().code == errc::secret_missing);
  CHECK(fs::is_empty(paths.secrets()));
}

TEST_CASE("bad names and values of secrets are refused without showing them") {
  temp_dir dir;
  secret_store store{prepared(dir / "state")};
  for (const auto* name : {"", "lower", "../KEY", "A/B", "A-B", ".", "K\n"}) {
    CHECK(store.set(name, "value").err().code == errc::bad_argument);
    CHECK(store.get(name).err().code == errc::bad_argument);
    CHECK_FALSE(store.has(name));
  }
  CHECK(store.set(std::string(65, 'K'), "v").err().code == errc::bad_argument);
  CHECK(store.set(std::string(64, 'K'), "v").ok());
  CHECK(store.set("KEY", "\n").err().code == errc::bad_argument);
  auto big = store.set("KEY", std::string(max_secret_bytes + 1, 'x'));
  REQUIRE(!big.ok());
  CHECK(big.err().code == errc::too_large);
  CHECK(render(big.err()).find("xxx") == std::string::npos);
  CHECK(store.list().value() == std::vector<std::string>{std::string(64, 'K')});
}

TEST_CASE("what would be refused of a state directory is known without making anything") {
  temp_dir dir;
  auto both = [](const fs::path& root) {
    auto before = state_refused(root);
    CHECK(before.code == prepare_state(root, env_of({})).err().code);
    return before;
  };
  CHECK(state_refused(dir / "new/state").code == errc::none);
  CHECK_FALSE(fs::exists(dir / "new"));
  auto good = prepared(dir / "good");
  CHECK(state_refused(good.root).code == errc::none);
  std::ofstream{dir / "file"}.flush();
  CHECK(both(dir / "file/state").cause == "Not a directory");
  CHECK(both(dir / "file").code == errc::bad_config);
  fs::remove_all(good.logs());
  std::ofstream{good.logs()}.flush();
  CHECK(both(good.root).code == errc::bad_config);
  fs::create_directory(dir / "others");
  fs::permissions(dir / "others", static_cast<fs::perms>(0755));
  std::ofstream{dir / "others/thing"}.flush();
  CHECK(both(dir / "others").code == errc::bad_config);
  CHECK(mode_of(dir / "others") == 0755);
}

TEST_CASE("a state directory that may not be entered is refused with the command that mends it") {
  temp_dir dir;
  auto paths = prepared(dir / "state");
  const bool root = ::geteuid() == 0;
  constexpr uid_t user = 12345;
  fs::permissions(dir.path(), static_cast<fs::perms>(0711)); // so that the user comes as far
  /// 0 when that user is told so, with `words`.
  auto told = [&](const std::string& words) {
    return in_child([&] {
      if (root && ::setuid(user) != 0) return 9;
      auto prepared_again = prepare_state(paths.root, env_of({}));
      for (const auto& e : {entry_refused(paths.root), state_refused(paths.root),
                            prepared_again ? error{} : prepared_again.err()}) {
        if (e.code != errc::io) return 1;
        if (e.cause != "Permission denied") return 2;
        if (e.message.find(words) == std::string::npos) return 3;
      }
      return 0;
    });
  };
  if (root) {
    CHECK(told("`sudo chown -R 12345 " + paths.root.string() + "`") == 0);
    REQUIRE(::chown(paths.root.c_str(), user, user) == 0);
  }
  REQUIRE(::chmod(paths.root.c_str(), 0) == 0);
  CHECK(told("`chmod 700 " + paths.root.string() + "`") == 0);
  REQUIRE(::chmod(paths.root.c_str(), 0700) == 0);
}
