#include "qemu/qmp.h"

#include <string>

#include <gtest/gtest.h>

#include "fake_monitor.h"

namespace godwit::lab {
namespace {

using Kind = QmpMessage::Kind;

TEST(QmpParser, NamesEachKindOfMessage) {
  QmpParser parser;
  parser.feed(kGreeting);
  parser.feed("{\"return\": {\"status\": \"active\"}}\r\n\r\n");
  parser.feed("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such thing\"}}\n");
  parser.feed("{\"timestamp\": {}, \"event\": \"MIGRATION\", \"data\": {\"status\": \"setup\"}}\n");

  const auto greeting = parser.next();
  ASSERT_TRUE(greeting && *greeting);
  EXPECT_EQ((*greeting)->kind, Kind::kGreeting);
  EXPECT_EQ(number_at((*greeting)->body, "/version/qemu/major"), 7);
  const auto answer = parser.next();
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->kind, Kind::kReturn);
  EXPECT_EQ(text_at((*answer)->body, "/status"), "active");
  const auto error = parser.next();
  ASSERT_TRUE(error && *error);
  EXPECT_EQ((*error)->kind, Kind::kError);
  EXPECT_EQ((*error)->text, "no such thing");
  const auto event = parser.next();
  ASSERT_TRUE(event && *event);
  EXPECT_EQ((*event)->kind, Kind::kEvent);
  EXPECT_EQ((*event)->name, "MIGRATION");
  EXPECT_EQ(text_at((*event)->body, "/status"), "setup");
  const auto end = parser.next();
  EXPECT_TRUE(end && !*end);
}

TEST(QmpParser, WaitsForTheEndOfAMessageThatComesInPieces) {
  QmpParser parser;
  const std::string line = kGreeting;
  for (std::size_t i = 0; i + 1 < line.size(); ++i) {
    parser.feed(std::string_view(line).substr(i, 1));
    const auto message = parser.next();
    ASSERT_TRUE(message);
    EXPECT_FALSE(*message) << i;
  }
  parser.feed("\n");
  const auto message = parser.next();
  EXPECT_TRUE(message && *message);
}

TEST(QmpParser, RefusesWhatIsNoMessage) {
  for (const auto* line : {"hello\n", "[]\n", "{\"something\": 1}\n", "{\"return\": \n"}) {
    QmpParser parser;
    parser.feed(line);
    const auto message = parser.next();
    ASSERT_FALSE(message) << line;
    EXPECT_EQ(message.error().code, ErrorCode::kProtocol);
  }
  QmpParser parser;
  parser.feed(std::string(QmpParser::kLineBytesMax + 1, ' '));
  EXPECT_FALSE(parser.next()) << "a line without end";
}

Deadline soon() {
  return Deadline::after_ns(10'000'000'000);
}

TEST(Qmp, KeepsEventsThatComeBeforeAnAnswer) {
  FakeMonitor monitor({"{\"return\": {}}\n", "{\"event\": \"STOP\"}\n{\"return\": {\"a\": 1}}\n"});
  auto qmp = Qmp::start(monitor.take(), {}, soon());
  ASSERT_TRUE(qmp) << qmp.error().message();
  const auto answer = qmp->execute("query-migrate", Json::object(), soon());
  ASSERT_TRUE(answer);
  EXPECT_EQ(number_at(*answer, "/a"), 1);
  const auto event = qmp->event(soon());
  ASSERT_TRUE(event);
  EXPECT_EQ(event->name, "STOP");
  EXPECT_GT(event->stamp_ns, 0);
}

TEST(Qmp, GivesQemusOwnWordsOnARefusal) {
  FakeMonitor monitor(
      {"{\"return\": {}}\n", "{\"error\": {\"desc\": \"Postcopy is not supported\"}}\n"});
  auto qmp = Qmp::start(monitor.take(), {}, soon());
  ASSERT_TRUE(qmp);
  const auto answer = qmp->execute("migrate-set-capabilities", Json::object(), soon());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kRefused);
  EXPECT_NE(answer.error().message().find("Postcopy is not supported"), std::string::npos);
}

TEST(Qmp, EndsAtItsDeadlineAndWhenInterrupted) {
  FakeMonitor monitor(std::vector<std::string>{"{\"return\": {}}\n"});
  const auto interrupt = EventFd::create();
  ASSERT_TRUE(interrupt);
  auto qmp = Qmp::start(monitor.take(), {interrupt->fd(), -1}, soon());
  ASSERT_TRUE(qmp);
  const auto late = qmp->event(Deadline::after_ns(1'000'000));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  interrupt->signal();
  const auto interrupted = qmp->event(soon());
  ASSERT_FALSE(interrupted);
  EXPECT_EQ(interrupted.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace godwit::lab
