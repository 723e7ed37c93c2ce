#include "control/requests.h"

#include <string>

#include <gtest/gtest.h>

namespace godwit::app {
namespace {

TEST(Requests, EachHasAName) {
  for (const auto& [request, name] : kRequestNames.entries()) {
    const auto json = request_json(request);
    EXPECT_EQ(json_text(json), R"({"command":")" + std::string(name) + R"("})");
    EXPECT_EQ(request_of(json).value(), request);
  }
  const auto unknown = request_of(parse_json(R"({"command":"dance"})"));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kState);
  EXPECT_EQ(unknown.error().message(), "unknown command 'dance'");
  EXPECT_FALSE(request_of(parse_json("[]")));
}

TEST(Requests, MembersThatAreUnsetAreLeftOut) {
  EXPECT_EQ(json_text(request_json(SettleRequest{})), R"({"command":"settle"})");
  EXPECT_EQ(settle_of(request_json(SettleRequest{3})).attempts, 3U);
  EXPECT_EQ(settle_of(request_json(SettleRequest{0})).attempts, 0U);
  EXPECT_FALSE(telemetry_request_of(request_json(TelemetryRequest{})).timeline_from);
  EXPECT_EQ(telemetry_request_of(request_json(TelemetryRequest{-7})).timeline_from, -7);
}

TEST(Requests, AMigrationIsAskedForInFull) {
  MigrationRequest request{"tcp:192.0.2.1:7", {}, true};
  auto& settings = request.settings;
  settings.source.mode = engine::Mode::kPrecopy;
  settings.source.checksum = false;
  settings.source.timeout_ns = 1'001'000;
  settings.planted = {PlantedKind::kBlackoutDelay, 7'000'000};
  settings.transport = TransportChoice::kPoll;
  settings.timeline = true;
  const auto json = request_json(request);
  const auto again = migration_of(json);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(json_text(request_json(*again)), json_text(json));
  EXPECT_EQ(again->to, request.to);
  EXPECT_TRUE(again->trace);
  EXPECT_EQ(again->settings.source.mode, engine::Mode::kPrecopy);
  EXPECT_FALSE(again->settings.source.checksum);
  EXPECT_EQ(again->settings.source.timeout_ns, 1'001'000);
  EXPECT_EQ(again->settings.planted.delay_ns, 7'000'000);
  EXPECT_EQ(again->settings.transport, TransportChoice::kPoll);
}

TEST(Requests, WhatTheCommandLineWouldRefuseIsRefused) {
  for (const auto* options : {R"({"max_rounds":0})",
                              R"({"max_rounds":1e300})",
                              R"({"switch_after_rounds":"0"})",
                              R"({"downtime_limit":"-1ms"})",
                              R"({"timeout":"0s"})",
                              R"({"timeout":9223372036854775807})",
                              R"({"channels":65})",
                              R"({"mode":"sideways"})",
                              R"({"inject":"earthquake"})",
                              R"({"inject":"fault-delay=99999999999s"})",
                              R"({"transport":"pigeon"})",
                              R"({"congestion":"vegas"})"}) {
    const auto request =
        migration_of(parse_json(R"({"to":"tcp:1","options":)" + std::string(options) + "}"));
    ASSERT_FALSE(request) << options;
    EXPECT_EQ(request.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(request.error().message().rfind("migrate: --", 0), 0U) << request.error().message();
  }
  EXPECT_TRUE(migration_of(parse_json("{}"))) << "the defaults";
}

TEST(Requests, AnErrorIsToldWithItsCode) {
  const auto json = error_json(make_error(ErrorCode::kState, "", "busy"));
  EXPECT_EQ(json_text(json), R"({"type":"error","code":"state","message":"busy"})");
  EXPECT_EQ(answer_of(json), Answer::kError);
  EXPECT_EQ(error_of_json(json).code, ErrorCode::kState);
  EXPECT_EQ(error_of_json(json).message(), "busy");
  const auto none = error_of_json(parse_json("{}"));
  EXPECT_EQ(none.code, ErrorCode::kProtocol);
  EXPECT_EQ(none.message(), "control socket: the answer is none that is known");
}

TEST(Requests, AStatusShowsWhatThereIs) {
  StatusAnswer none;
  none.state = "none";
  EXPECT_EQ(json_text(status_json(none)), R"({"type":"reply","state":"none"})");

  StatusAnswer held;
  held.state = "held";
  held.phase = "Suspended";
  held.missing_pages = 7;
  held.reason = "the link broke";
  held.error = {make_error(ErrorCode::kClosed, "", "the link broke"), "target", "running"};
  held.memory_bytes = 4096;
  held.resident_bytes = 0;
  held.failed_attempts = 0;
  const auto* text =
      R"({"type":"reply","state":"held","phase":"Suspended","missing_pages":7,)"
      R"("reason":"the link broke",)"
      R"("error":{"code":"closed","side":"target","phase":"running","message":"the link broke"},)"
      R"("memory_bytes":4096,"resident_bytes":0,"failed_attempts":0})";
  EXPECT_EQ(json_text(status_json(held)), text);
  EXPECT_EQ(json_text(status_json(status_of(parse_json(text)))), text);

  auto waiting = held;
  waiting.state = "waiting";
  waiting.memory_bytes.reset();
  waiting.resident_bytes.reset();
  waiting.failed_attempts = 1;
  EXPECT_EQ(json_text(status_json(waiting)),
            R"({"type":"reply","state":"waiting","phase":"Suspended","missing_pages":7,)"
            R"("failed_attempts":1,"reason":"the link broke","error":{"code":"closed",)"
            R"("side":"target","phase":"running","message":"the link broke"}})")
      << "the reason is that of the attempt before";
}

TEST(Requests, TelemetryArrivesAsItIs) {
  TelemetryAnswer answer;
  auto& vcpu = answer.telemetry.vcpus.emplace_back();
  vcpu.steps = 1;
  vcpu.last_step_ns = 2;
  vcpu.last_counter = 3;
  vcpu.first_step_ns = 4;
  vcpu.first_counter = 5;
  vcpu.first_step_faults_ns = 6;
  vcpu.first_step_here_ns = 7;
  vcpu.previous_step_ns = 8;
  vcpu.previous_counter = 9;
  vcpu.largest_step_ns = 10;
  answer.telemetry.counter_hz = 11;
  answer.telemetry.guest_errors = 12;
  answer.telemetry.first_error = "page 13";
  answer.telemetry.step_holes = 14;
  answer.telemetry.slow_touches.record(15'000);
  answer.telemetry.slow_touches.record(1'600'000);
  answer.timeline = vmm::Throughput{17, {18, 19}};
  answer.memory = {20, 21};
  const auto json = telemetry_json(answer);
  const auto again = telemetry_of(json);
  EXPECT_EQ(json_text(telemetry_json(again)), json_text(json));
  ASSERT_EQ(again.telemetry.vcpus.size(), 1U);
  EXPECT_EQ(again.telemetry.vcpus[0].largest_step_ns, 10);
  const auto& touches = again.telemetry.slow_touches;
  EXPECT_EQ(touches.count(), 2U);
  EXPECT_EQ(touches.max(), 1'600'000U);
  EXPECT_EQ(touches.quantile(0.5), answer.telemetry.slow_touches.quantile(0.5));
  EXPECT_EQ(again.timeline->touches, answer.timeline->touches);
  EXPECT_EQ(again.memory.page_tables, 21U);
}

TEST(Requests, BucketsThatAHistogramDoesNotHaveAreDropped) {
  const auto answer = telemetry_of(parse_json(
      R"({"telemetry":{"slow_touches":{"max_ns":5,"buckets":[[4294967296,1],[99999,1],[3,2]]}}})"));
  EXPECT_EQ(answer.telemetry.slow_touches.count(), 2U);
}

TEST(Requests, AReportBringsWhatTheTargetIsComparedWith) {
  ReportAnswer answer;
  answer.report = parse_json(R"({"outcome":"completed"})");
  answer.mean_step_ns = 5;
  answer.timeline = SourceTimeline{{1, {2}}, {3, 4, 5}};
  const auto json = report_answer_json(answer);
  EXPECT_EQ(answer_of(json), Answer::kReport);
  const auto again = report_answer_of(json);
  EXPECT_EQ(json_text(again.report), json_text(answer.report));
  EXPECT_EQ(again.mean_step_ns, 5);
  EXPECT_EQ(again.timeline->span.blackout_end_ns, 4);
  EXPECT_EQ(again.timeline->seen.touches.size(), 1U);
}

TEST(Requests, TheFillIsProgressUntilItHasEnded) {
  EXPECT_EQ(answer_of(fill_json({false, 1})), Answer::kProgress);
  EXPECT_EQ(answer_of(fill_json({true, 1})), Answer::kReply);
  EXPECT_EQ(answer_of(parse_json("7")), std::nullopt);
}

}  // namespace
}  // namespace godwit::app
