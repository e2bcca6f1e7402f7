/* The program. Everything it does is in cli.h. */
#include "experiments/cli.h"

#include <fcntl.h>

/* A file opened later must not be taken for a standard stream the caller closed: the number is occupied by something
 * every use of which fails. */
static void occupy_closed_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    occupy_closed_streams();
    return xp_cli(argc, (const char *const *)argv, stdout, stderr);
}
