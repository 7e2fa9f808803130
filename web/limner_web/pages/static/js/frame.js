// On every page: the keyboard map, and on a narrow window the current entry of the navigation in view.
import "./keymap.js";
import { $ } from "./dom.js";

$(".top [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
