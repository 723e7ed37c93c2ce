// First bytes of the payload. The VMM has set the stack, long mode and the arguments (platform.h).
    .section .text.entry, "ax", @progbits
    .globl payload_start
payload_start:
    call payload_main
1:
    movl $6, %eax          // kCallEnded: nothing left to do; the VMM parks the vCPU
    movw $0x510, %dx
    outl %eax, %dx
    jmp 1b
    .section .note.GNU-stack, "", @progbits
