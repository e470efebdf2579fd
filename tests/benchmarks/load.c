/* Load for POP3 servers: load PORT sessions|retr CLIENTS SECONDS MESSAGE
 *
 * sessions: each client connects, USER userN, PASS secret, STAT, QUIT, waits for the end, and begins again.
 * retr:     each client logs in once and asks for message MESSAGE again and again.
 * At the end what was begun is finished, so that it counts. One epoll loop. Prints: sessions or replies, octets received, seconds, seconds of processor time of this process.
 * A reply that is not +OK ends it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { GREETING, USER, PASS, STAT, QUIT, END, RETR };
struct client { int fd, step, name, fresh; unsigned tail; };

static int poll_fd, port, retr;
static const char *message;
static long done, octets, open_now;
static int ending;

static void fail(const char *what, const char *text, long length) {
    fprintf(stderr, "%s: %s %.*s\n", what, errno ? strerror(errno) : "", (int)length, text);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void dial(struct client *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket", "", 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) fail("connect", "", 0);
    errno = 0;
    c->step = GREETING, c->fresh = 1, c->tail = 0, open_now++;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl", "", 0);
}

static void say(struct client *c) {
    char line[64];
    int length = 0;
    switch (c->step) {
    case USER: length = sprintf(line, "USER user%d\r\n", c->name); break;
    case PASS: length = sprintf(line, "PASS secret\r\n"); break;
    case STAT: length = sprintf(line, "STAT\r\n"); break;
    case QUIT: length = sprintf(line, "QUIT\r\n"); break;
    case RETR: length = sprintf(line, "RETR %s\r\n", message); break;
    }
    if (length && write(c->fd, line, length) != length) fail("write", line, length);
}

static void take(struct client *c) {
    static char data[1 << 18];
    long length = read(c->fd, data, sizeof data);
    if (length < 0 && errno == EAGAIN) { errno = 0; return; }
    if (length < 0 || (length == 0 && c->step != END)) fail("read", "", 0);
    octets += length;
    if (length == 0) {
        close(c->fd);
        done++, open_now--;
        if (!ending) dial(c);
        return;
    }
    if (c->fresh && data[0] != '+') fail("refused", data, length);
    c->fresh = 0;
    /* The end of a reply: CRLF, for RETR CRLF . CRLF; five octets of what came before are kept in `tail`. */
    unsigned long long last = c->tail;
    for (long at = length > 8 ? length - 8 : 0; at < length; at++) last = last << 8 | (unsigned char)data[at];
    c->tail = last;
    int whole = c->step == RETR ? (last & 0xffffffffffULL) == 0x0d0a2e0d0aULL : (last & 0xffff) == 0x0d0a;
    if (!whole) return;
    if (c->step == RETR) {
        done++;
        if (ending) { open_now--; c->step = END; }
    } else if (retr && c->step == PASS) c->step = RETR;
    else c->step++;
    c->fresh = 1;
    if (c->step != END) say(c);
}

int main(int count, char **word) {
    if (count != 6) return 2;
    port = atoi(word[1]), retr = !strcmp(word[2], "retr"), message = word[5];
    int clients = atoi(word[3]);
    struct client *all = calloc(clients, sizeof *all);
    struct epoll_event events[512];
    poll_fd = epoll_create1(0);
    for (int n = 0; n < clients; n++) all[n].name = n, dial(&all[n]);
    double begin = now(), end = begin + atof(word[4]);
    while (open_now) {
        ending = now() >= end;
        int ready = epoll_wait(poll_fd, events, 512, 100);
        for (int n = 0; n < ready; n++) take(events[n].data.ptr);
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("%ld %ld %f %f\n", done, octets, now() - begin,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
