// The payload of a PC as bytes of this program.
    .section .rodata, "a", @progbits
    .globl godwit_pc_payload_begin
    .globl godwit_pc_payload_end
    .balign 16
godwit_pc_payload_begin:
    .incbin GODWIT_PC_PAYLOAD_PATH
godwit_pc_payload_end:
    .section .note.GNU-stack, "", @progbits
