// Preloaded into Debian's adbd: listens on loopback only, and answers Android's property reads from the file
// named by PLAYED_PROPS ("key=value" lines), since a Linux system has no property service.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

extern "C" int bind(int fd, const sockaddr* address, socklen_t length) {
    using Bind = int (*)(int, const sockaddr*, socklen_t);
    static const auto next = reinterpret_cast<Bind>(dlsym(RTLD_NEXT, "bind"));
    if (address->sa_family == AF_VSOCK) {  // no virtual machine is meant
        errno = EAFNOSUPPORT;
        return -1;
    }
    if (address->sa_family == AF_INET) {
        sockaddr_in local;
        std::memcpy(&local, address, sizeof local);
        local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return next(fd, reinterpret_cast<sockaddr*>(&local), sizeof local);
    }
    if (address->sa_family == AF_INET6) {  // adbd listens on both families through one IPv6 socket
        sockaddr_in6 local;
        std::memcpy(&local, address, sizeof local);
        inet_pton(AF_INET6, "::ffff:127.0.0.1", &local.sin6_addr);
        return next(fd, reinterpret_cast<sockaddr*>(&local), sizeof local);
    }
    return next(fd, address, length);
}

namespace android::base {
std::string GetProperty(const std::string& key, const std::string& fallback) {
    const char* path = std::getenv("PLAYED_PROPS");
    std::ifstream lines(path ? path : "");
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind(key + "=", 0) == 0) return line.substr(key.size() + 1);
    }
    return fallback;
}
}  // namespace android::base
