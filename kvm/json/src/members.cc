#include "godwit/json/members.h"

namespace godwit {
namespace {

const Json* find(const Json& json, const char* name) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found != json.end() ? &*found : nullptr;
}

std::uint64_t unsigned_of(const Json& json) {
  return json.is_number_unsigned() ? json.get<std::uint64_t>() : 0;
}

}  // namespace

void MemberWriter::put(const char* name, Json value) {
  json_[name] = std::move(value);
}

void MemberWriter::put_flag(const char* name, bool value) {
  put(name, value);
}

void MemberWriter::put_signed(const char* name, std::int64_t value) {
  put(name, value);
}

void MemberWriter::put_unsigned(const char* name, std::uint64_t value) {
  put(name, value);
}

void MemberWriter::put_float(const char* name, double value) {
  put(name, value);
}

void MemberWriter::put_text(const char* name, const std::string& value) {
  put(name, value);
}

void MemberWriter::put_null(const char* name) {
  put(name, nullptr);
}

void MemberWriter::put_list(const char* name, std::vector<Json> objects) {
  auto list = Json::array();
  for (auto& object : objects) {
    list.push_back(std::move(object));
  }
  put(name, std::move(list));
}

void MemberWriter::values(const char* name, const std::vector<std::uint64_t>& values) {
  put(name, Json(values));
}

void MemberWriter::pairs(const char* name,
                         const std::vector<std::pair<std::uint64_t, std::uint64_t>>& pairs) {
  auto list = Json::array();
  for (const auto& [first, second] : pairs) {
    list.push_back(Json::array({first, second}));
  }
  put(name, std::move(list));
}

void MemberWriter::texts(const char* name, const std::vector<std::string>& texts) {
  if (!texts.empty()) {
    put(name, Json(texts));
  }
}

void MemberReader::values(const char* name, std::vector<std::uint64_t>& values) {
  values.clear();
  for (const auto* found : find_list(name)) {
    values.push_back(unsigned_of(*found));
  }
}

void MemberReader::pairs(const char* name,
                         std::vector<std::pair<std::uint64_t, std::uint64_t>>& pairs) {
  pairs.clear();
  for (const auto* found : find_list(name)) {
    if (found->is_array() && found->size() == 2) {
      pairs.emplace_back(unsigned_of((*found)[0]), unsigned_of((*found)[1]));
    }
  }
}

void MemberReader::texts(const char* name, std::vector<std::string>& texts) {
  texts.clear();
  for (const auto* found : find_list(name)) {
    if (found->is_string()) {
      texts.push_back(found->get<std::string>());
    }
  }
}

bool MemberReader::has(const char* name, bool flag, bool number) const {
  const auto* found = find(*json_, name);
  if (found == nullptr) {
    return false;
  }
  return flag ? found->is_boolean() : number ? found->is_number() : found->is_string();
}

const Json* MemberReader::find_object(const char* name) const {
  const auto* found = find(*json_, name);
  return found != nullptr && found->is_object() ? found : nullptr;
}

std::vector<const Json*> MemberReader::find_list(const char* name) const {
  std::vector<const Json*> items;
  if (const auto* found = find(*json_, name); found != nullptr && found->is_array()) {
    for (const auto& item : *found) {
      items.push_back(&item);
    }
  }
  return items;
}

}  // namespace godwit
