/*
 * machine: loaded into every twin (README.md beside this file), so that uname(2) says what the emulated machine would say.
 * Freestanding, to fit any C library.
 */

enum { CALL_UNAME = 63, FIELD = 65, MACHINE = 4 };

int uname(char *fields)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"((long)CALL_UNAME), "D"(fields) : "rcx", "r11", "memory");
    if (result != 0)
        return -1;
    const char *name = "aarch64";
    for (char *to = fields + MACHINE * FIELD; (*to = *name); to++)
        name++;
    return 0;
}
