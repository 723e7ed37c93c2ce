// From multiboot's 32-bit protected mode to the payload at CPL 3 in long mode. Level 0 runs a few hundred instructions
// before that, and a handful for each sleep: some KVMs emulate it.
    .set image_gpa, 0x100000
    .set user_code, 0x1B
    .set user_data, 0x23
    .section .text.entry, "ax", @progbits
    .code32
    .globl pc_start
pc_start:
    .long 0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)
    .long image_gpa, image_gpa, 0, 0, enter
    .org 64                     // kPcBootOffset: PcBoot
tables_gpa: .quad 0
stack_gpa:  .quad 0
params_gpa: .quad 0
fs_base:    .quad 0
gs_base:    .quad 0

enter:
    cli
    movl tables_gpa, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x620, %eax            // PAE OSFXSR OSXMMEXCPT
    movl %eax, %cr4
    movl $0xC0000080, %ecx      // EFER
    rdmsr
    orl $0x101, %eax            // LME SCE
    wrmsr
    movl $0x80050033, %eax      // PG AM WP NE ET MP PE
    movl %eax, %cr0
    lgdt gdt_register
    ljmp $0x08, $enter_long

    .balign 16
gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF    // 0x08 code of level 0
    .quad 0x00CF93000000FFFF    // 0x10 data of level 0
    .quad 0x00AFFB000000FFFF    // 0x18 code of level 3
    .quad 0x00CFF3000000FFFF    // 0x20 data of level 3
tss_descriptor:
    .quad 0, 0
gdt_register:
    .word . - gdt - 1
    .long gdt

// With a map that permits every port up to 0x3FF, for KVMs that lose IOPL on the way to level 3.
    .balign 16
tss:
    .long 0
    .quad level0_stack_end      // RSP0
    .fill 90, 1, 0
    .word tss_ports - tss
tss_ports:
    .fill 128, 1, 0
    .byte 0xFF
    .set tss_limit, . - tss - 1

    .balign 16
idt:
    .fill 0x21 * 16, 1, 0
idt_register:
    .word . - idt - 1
    .quad idt

    .code64
enter_long:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $level0_stack_end, %esp
    // The descriptor of the TSS, and two gates.
    movl $tss, %eax
    movw %ax, tss_descriptor + 2
    shrl $16, %eax
    movb %al, tss_descriptor + 4
    movb %ah, tss_descriptor + 7
    movw $tss_limit, tss_descriptor
    movb $0x89, tss_descriptor + 5
    movl $0x28, %eax
    ltr %ax
    movl $protection_fault, %eax
    movl $idt + 0x0D * 16, %edi
    call set_gate
    movl $timer_tick, %eax
    movl $idt + 0x20 * 16, %edi
    call set_gate
    lidt idt_register
    // Interrupt controllers: vectors from 0x20 on, all masked.
    movb $0x11, %al
    outb %al, $0x20
    outb %al, $0xA0
    movb $0x20, %al
    outb %al, $0x21
    movb $0x28, %al
    outb %al, $0xA1
    movb $4, %al
    outb %al, $0x21
    movb $2, %al
    outb %al, $0xA1
    movb $1, %al
    outb %al, $0x21
    outb %al, $0xA1
    movb $0xFF, %al
    outb %al, $0x21
    outb %al, $0xA1
    // Leave for level 3: SS, RSP, RFLAGS (IOPL 3, no interrupts), CS, RIP.
    pushq $user_data
    pushq stack_gpa
    pushq $0x3002
    pushq $user_code
    pushq $payload_start
    movl $user_data, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl $0xC0000100, %ecx      // FS_BASE; a selector's load has cleared it
    movl fs_base, %eax
    movl fs_base + 4, %edx
    wrmsr
    incl %ecx                   // GS_BASE
    movl gs_base, %eax
    movl gs_base + 4, %edx
    wrmsr
    movq params_gpa, %rdi
    xorl %esi, %esi
    xorl %edx, %edx             // no AVX
    iretq

set_gate:                       // an interrupt gate at rdi to eax; changes eax
    movw %ax, (%rdi)
    movw $0x08, 2(%rdi)
    movw $0x8E00, 4(%rdi)
    shrl $16, %eax
    movw %ax, 6(%rdi)
    ret

// A HLT at level 3 comes here. Any other fault is the payload's ruin: UD2 finds no gate, the machine resets, and its
// VMM is told to end then.
protection_fault:
    addq $8, %rsp               // the error code
    pushq %rax
    movq 8(%rsp), %rax
    cmpb $0xF4, (%rax)
    jne 1f
    incq 8(%rsp)
    popq %rax
    sti
    hlt
    cli
    iretq
1:
    ud2

timer_tick:
    pushq %rax
    movb $0x20, %al             // end of interrupt
    outb %al, $0x20
    popq %rax
    iretq

payload_start:
    call payload_main
1:
    hlt
    jmp 1b

    .balign 16
    .fill 1024, 1, 0
level0_stack_end:
    .section .note.GNU-stack, "", @progbits
