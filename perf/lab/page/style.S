// The style sheet of a page as bytes of this program.
    .section .rodata, "a", @progbits
    .globl godwit_lab_style_begin
    .globl godwit_lab_style_end
godwit_lab_style_begin:
    .incbin GODWIT_LAB_STYLE_PATH
godwit_lab_style_end:
    .section .note.GNU-stack, "", @progbits
