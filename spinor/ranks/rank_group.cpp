#include "spinor/ranks/rank_group.h"

#include <ATen/ATen.h>
#include <c10/util/Logging.h>
#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "spinor/base/error.h"

namespace spinor {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Ranks compute between two messages for as long as it takes: who is gone is known by its connection, and by `check`.
constexpr milliseconds kForever = std::chrono::hours(24 * 365);
// Within which a board hears why a rank is gone whose connection has ended.
constexpr milliseconds kReasonComes(8'000);
constexpr milliseconds kConnects(30'000);  // all have met
constexpr int kTags = 1 << 30;

std::vector<int64_t> numbers_of(const at::Tensor& numbers) {
  const int64_t* first = numbers.const_data_ptr<int64_t>();
  return {first, first + numbers.numel()};
}

std::string name_of(int rank, const Rank& of) {
  return fmt::format("rank {} of {}", rank, of.ranks);
}

// c10d writes a page for each try to connect; what it comes to is an Error.
class Quiet {
 public:
  Quiet() : before_(FLAGS_caffe2_log_level) {
    if (!std::getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = 3;
  }
  ~Quiet() { FLAGS_caffe2_log_level = before_; }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  int before_;
};

}  // namespace

class RankGroup::Network {
 public:
  Network(const Rank& rank, const RankMeeting& meeting, const std::string& common, std::function<void()> check)
      : rank_(rank), check_(std::move(check)) {
    if (check_) watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
    const Quiet quiet;
    const auto store = c10::make_intrusive<c10d::PrefixStore>("spinor/" + rank.attempt, open_store(meeting));
    ended_by_loss(0, [&] { meet(*store, common); });
    const auto options = c10d::ProcessGroupGloo::Options::create(std::min(rank.patience, kConnects));
    options->devices.push_back(device());
    ended_by_loss(0,
                  [&] { gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank.rank, rank.ranks, options); });
    gloo_->setTimeout(kForever);
  }

  void send(int to, at::Tensor tensor) {
    std::vector<at::Tensor> one{std::move(tensor)};
    c10::intrusive_ptr<c10d::Work> work = ended_by_loss(to, [&] { return gloo_->send(one, to, next_tag(to, sent_)); });
    sending_.emplace_back(to, std::move(work));
  }

  void receive(int from, at::Tensor& into) {
    std::vector<at::Tensor> one{into};
    wait(from, *ended_by_loss(from, [&] { return gloo_->recv(one, from, next_tag(from, received_)); }));
  }

  void flush() {
    for (auto& [to, work] : sending_) wait(to, *work);
    sending_.clear();
  }

 private:
  // That of the interface which GLOO_SOCKET_IFNAME names, as for torch.distributed; else of the host's name.
  static std::shared_ptr<gloo::transport::Device> device() {
    if (const char* name = std::getenv("GLOO_SOCKET_IFNAME"); name && *name)
      return c10d::ProcessGroupGloo::createDeviceForInterface(name);
    return c10d::ProcessGroupGloo::createDefaultDevice();
  }

  c10::intrusive_ptr<c10d::Store> open_store(const RankMeeting& meeting) {
    if (meeting.host.empty()) return c10::make_intrusive<c10d::FileStore>(meeting.file.string(), rank_.ranks);
    c10d::TCPStoreOptions options{
        .port = meeting.port, .isServer = rank_.rank == 0 && !meeting.served, .waitWorkers = false};
    options.timeout = std::min(rank_.patience, milliseconds(1000));
    const std::string place = fmt::format("{}:{}", meeting.host, meeting.port);
    for (const auto due = steady_clock::now() + rank_.patience;;) try {
        auto store = c10::make_intrusive<c10d::TCPStore>(meeting.host, options);
        store->setTimeout(rank_.patience);
        return store;
      } catch (const std::exception& error) {
        rethrow_problem();
        if (options.isServer)
          throw Error(place, "cannot be where ranks meet",
                      "give another MASTER_PORT, which is free on the machine of rank 0");
        if (steady_clock::now() >= due)
          throw Error(place, fmt::format("no answer in {} s", seconds()),
                      "see whether rank 0 was started, and MASTER_ADDR and MASTER_PORT are its own");
      }
  }

  double seconds() const { return std::chrono::duration<double>(rank_.patience).count(); }

  void meet(c10d::Store& store, const std::string& common) {
    const auto bytes = [](const std::string& text) { return std::vector<uint8_t>(text.begin(), text.end()); };
    store.set(fmt::format("{}", rank_.rank), bytes(common));
    const auto due = steady_clock::now() + rank_.patience;
    for (int rank = 0; rank < rank_.ranks; ++rank) {
      const std::string key = fmt::format("{}", rank);
      for (; !store.check({key}); std::this_thread::sleep_for(milliseconds(20))) {
        rethrow_problem();
        if (!check_ && steady_clock::now() >= due)
          throw Error(name_of(rank, rank_), fmt::format("has not appeared in {} s", seconds()),
                      "start all ranks at the same time; to run alone, give --ranks 1");
      }
      if (const std::vector<uint8_t> theirs = store.get(key); theirs != bytes(common))
        throw Error(
            name_of(rank, rank_),
            fmt::format("has {}, and rank {} has {}", std::string(theirs.begin(), theirs.end()), rank_.rank, common),
            "give all ranks the same options, and machines of one kind, or to all the same "
            "ATEN_CPU_CAPABILITY and MKL_ENABLE_INSTRUCTIONS");
    }
  }

  static int next_tag(int peer, std::map<int, int>& count) { return count[peer]++ % kTags; }

  // What libtorch says when a connection ends.
  template <typename Work>
  auto ended_by_loss(int peer, Work work) -> decltype(work()) {
    try {
      return work();
    } catch (const Error&) {
      throw;
    } catch (const std::exception&) {
      lost(peer);
    }
  }

  void rethrow_problem() {
    const std::lock_guard lock(mutex_);
    if (problem_) std::rethrow_exception(problem_);
  }

  void wait(int peer, c10d::Work& work) {
    bool arrived = false;
    {
      const std::lock_guard lock(mutex_);
      if (problem_) std::rethrow_exception(problem_);
      waiting_ = &work;
    }
    try {
      arrived = work.wait();
    } catch (const std::exception&) {  // of a connection that ended
    }
    {
      const std::lock_guard lock(mutex_);
      waiting_ = nullptr;
    }
    if (!arrived) lost(peer);
  }

  [[noreturn]] void lost(int peer) {
    std::unique_lock lock(mutex_);
    if (check_) known_.wait_for(lock, kReasonComes, [&] { return problem_ != nullptr; });
    if (problem_) std::rethrow_exception(problem_);
    throw Error(name_of(peer, rank_), "has ended its connection: it failed, or was killed",
                "see what it said, and start all ranks again");
  }

  void watch(const std::stop_token& stop) {
    for (; !stop.stop_requested(); std::this_thread::sleep_for(milliseconds(50))) try {
        check_();
      } catch (...) {
        const std::lock_guard lock(mutex_);
        problem_ = std::current_exception();
        if (waiting_) waiting_->abort();
        return known_.notify_all();
      }
  }

  const Rank rank_;
  const std::function<void()> check_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  std::map<int, int> sent_, received_;  // messages, by rank
  std::vector<std::pair<int, c10::intrusive_ptr<c10d::Work>>> sending_;
  std::mutex mutex_;  // guards:
  std::exception_ptr problem_;
  c10d::Work* waiting_ = nullptr;
  std::condition_variable known_;  // problem_
  std::jthread watcher_;
};

RankGroup::RankGroup() = default;
RankGroup::RankGroup(const Rank& rank, const RankMeeting& meeting, const std::string& common,
                     std::function<void()> check)
    : rank_(rank) {
  if (!alone()) network_ = std::make_unique<Network>(rank, meeting, common, std::move(check));
}
RankGroup::~RankGroup() = default;

void RankGroup::send(int to, at::Tensor tensor) {
  network_->send(to, std::move(tensor));
}

void RankGroup::receive(int from, at::Tensor& into) {
  network_->receive(from, into);
}

void RankGroup::flush() {
  if (network_) network_->flush();
}

at::Tensor RankGroup::over_all(at::Tensor mine,
                               const std::function<void(at::Tensor& all, const at::Tensor& theirs)>& add) {
  if (rank() > 0) {
    at::Tensor all = at::empty_like(mine);
    send(0, std::move(mine));
    flush();
    receive(0, all);
    return all;
  }
  for (int other = 1; other < ranks(); ++other) {
    at::Tensor theirs = at::empty_like(mine);
    receive(other, theirs);
    add(mine, theirs);
  }
  for (int other = 1; other < ranks(); ++other) send(other, mine);
  flush();
  return mine;
}

std::vector<int64_t> RankGroup::smallest(const std::vector<int64_t>& values) {
  return numbers_of(over_all(at::tensor(values, at::kLong),
                             [](at::Tensor& all, const at::Tensor& theirs) { all = at::minimum(all, theirs); }));
}

std::vector<int64_t> RankGroup::largest(const std::vector<int64_t>& values) {
  return numbers_of(over_all(at::tensor(values, at::kLong),
                             [](at::Tensor& all, const at::Tensor& theirs) { all = at::maximum(all, theirs); }));
}

RankGroup& or_alone(RankGroup* ranks) {
  static RankGroup alone;
  return ranks ? *ranks : alone;
}

}  // namespace spinor
