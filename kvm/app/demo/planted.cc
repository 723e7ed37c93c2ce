#include "demo/planted.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "godwit/base/clock.h"

#include "demo/planted_channel.h"

namespace godwit::app {
namespace {

class DroppingPlacer final : public engine::PagePlacer {
 public:
  DroppingPlacer(std::unique_ptr<engine::PagePlacer> inside, PageId page)
      : inside_(std::move(inside)), page_(page) {}

  [[nodiscard]] engine::Placing placing() const override { return inside_->placing(); }
  Status place(PageRun run, const std::byte* bytes) override {
    if (run.region != page_.region || page_.index < run.first || page_.index >= run.end()) {
      return inside_->place(run, bytes);
    }
    const auto before = page_.index - run.first;
    const auto after = run.end() - page_.index - 1;
    if (before > 0) {
      GODWIT_TRY(inside_->place({run.region, run.first, before}, bytes));
    }
    if (after > 0) {
      GODWIT_TRY(inside_->place({run.region, page_.index + 1, after},
                                bytes + ((before + 1) << kPageShift)));
    }
    return {};
  }
  Status place_zero(PageRun run) override { return inside_->place_zero(run); }
  Status retract(std::span<const PageRun> runs) override { return inside_->retract(runs); }
  [[nodiscard]] const char* name() const override { return inside_->name(); }

 private:
  std::unique_ptr<engine::PagePlacer> inside_;
  const PageId page_;
};

}  // namespace

std::unique_ptr<engine::PagePlacer> drop_page(std::unique_ptr<engine::PagePlacer> placer,
                                              PageId page) {
  return std::make_unique<DroppingPlacer>(std::move(placer), page);
}

/// Tells the course when the state is saved, and sleeps then for blackout-delay.
class PlantedSource::Guest final : public engine::SourceGuest {
 public:
  Guest(engine::SourceGuest& inside, std::shared_ptr<PlantedCourse> course, std::int64_t delay_ns)
      : inside_(inside), course_(std::move(course)), delay_ns_(delay_ns) {}

  engine::MachineDescription describe() override { return inside_.describe(); }
  [[nodiscard]] const engine::GuestMemory& memory() const override { return inside_.memory(); }
  engine::PopulatedScan& populated() override { return inside_.populated(); }
  engine::DirtySource* dirty_source(std::string& why) override { return inside_.dirty_source(why); }
  Result<engine::RunEdge> quiesce() override { return inside_.quiesce(); }
  Result<std::vector<engine::StateSection>> save_state() override {
    course_->note_saved();
    std::this_thread::sleep_for(std::chrono::nanoseconds(delay_ns_));
    return inside_.save_state();
  }
  Status resume() override { return inside_.resume(); }

 private:
  engine::SourceGuest& inside_;
  std::shared_ptr<PlantedCourse> course_;
  const std::int64_t delay_ns_;
};

class PlantedSource::Transport final : public engine::Transport {
 public:
  Transport(engine::Transport& inside, std::shared_ptr<PlantedCourse> course, const Plant& plant)
      : inside_(inside), course_(std::move(course)), plant_(plant) {}

  Result<std::unique_ptr<EventLoop>> make_loop() override { return inside_.make_loop(); }
  Result<std::unique_ptr<engine::Channel>> connect(engine::ChannelKind kind,
                                                   Deadline deadline) override {
    if (const auto until = course_->down_until_ns(); until > monotonic_ns()) {
      // As long as the attempt may take, or the outage: nobody answers.
      std::this_thread::sleep_for(
          std::chrono::nanoseconds(std::min(deadline.at_ns, until) - monotonic_ns()));
      return fail(ErrorCode::kTimeout, "connect", "injected: the link is down");
    }
    GODWIT_TRY_ASSIGN(auto channel, inside_.connect(kind, deadline));
    return plant_in_channel(std::move(channel), kind, plant_, course_);
  }
  void interrupt() override { inside_.interrupt(); }
  [[nodiscard]] std::string name() const override { return inside_.name(); }
  [[nodiscard]] std::string congestion() const override { return inside_.congestion(); }

 private:
  engine::Transport& inside_;
  std::shared_ptr<PlantedCourse> course_;
  const Plant plant_;
};

PlantedSource::PlantedSource(engine::SourceGuest& guest,
                             engine::Transport& transport,
                             const Plant& plant) {
  const auto course = std::make_shared<PlantedCourse>();
  const auto late = plant.fault == PlantedKind::kBlackoutDelay ? plant.delay_ns : 0;
  guest_ = std::make_unique<Guest>(guest, course, late);
  transport_ = std::make_unique<Transport>(transport, course, plant);
}

PlantedSource::~PlantedSource() = default;

}  // namespace godwit::app
