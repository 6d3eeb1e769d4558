/* SPDX-License-Identifier: Apache-2.0
 *
 * Builtins that are defined in jq itself, as jq 1.8 defines them: what they accept, in which order
 * they yield, and what they complain about follows from the definition. Only those a program uses
 * are parsed.
 */
#include "jq/native.h"

// clang-format off
static const struct jq_native table[] = {
    JQ_DEF("add", 0, "def add: add(.[]);", 0, "The sum of the elements.", "add", "[1,2]", "3"),
    JQ_DEF("del", 1, "def del(f): delpaths([path(f)]);", 0, "The input without what lies at the paths.", "del(.a)", "{\"a\":1}", "{}"),
    JQ_DEF("recurse", 1, "def recurse(f): def r: ., (f | r); r;", 0, "The input, the results for it, the results for those …", "[recurse(if . < 2 then . + 1 else empty end)]", "0", "[0,1,2]"),
    JQ_DEF("recurse", 2, "def recurse(f; cond): def r: ., (f | select(cond) | r); r;", 0, "As recurse(f), as long as the condition holds.", "[recurse(. + 1; . < 3)]", "1", "[1,2]"),
    JQ_DEF("paths", 0, "def paths: path(recurse)|select(length > 0);", 0, "The paths of everything in the input.", "[paths]", "{\"a\":[1]}", "[[\"a\"],[\"a\",0]]"),
    JQ_DEF("paths", 1, "def paths(node_filter): path(recurse|select(node_filter))|select(length > 0);", 0, "The paths of what the condition holds for.", "[paths(type == \"number\")]", "[1,[2]]", "[[0],[1,0]]"),
    JQ_DEF("isfinite", 0, "def isfinite: type == \"number\" and (isinfinite | not);", 0, "True for numbers that are not infinite.", "isfinite", "1", "true"),
    JQ_DEF("arrays", 0, "def arrays: select(type == \"array\");", 0, "The input if it is an array.", "[.[] | arrays]", "[1,[]]", "[[]]"),
    JQ_DEF("objects", 0, "def objects: select(type == \"object\");", 0, "The input if it is an object.", "[.[] | objects]", "[1,{}]", "[{}]"),
    JQ_DEF("iterables", 0, "def iterables: select(type|. == \"array\" or . == \"object\");", 0, "The input if it is an array or object.", "[.[] | iterables]", "[1,[]]", "[[]]"),
    JQ_DEF("booleans", 0, "def booleans: select(type == \"boolean\");", 0, "The input if it is a boolean.", "[.[] | booleans]", "[1,true]", "[true]"),
    JQ_DEF("numbers", 0, "def numbers: select(type == \"number\");", 0, "The input if it is a number.", "[.[] | numbers]", "[1,true]", "[1]"),
    JQ_DEF("normals", 0, "def normals: select(isnormal);", 0, "The input if it is a normal number.", "[.[] | normals]", "[1,0]", "[1]"),
    JQ_DEF("finites", 0, "def finites: select(isfinite);", 0, "The input if it is a finite number.", "[.[] | finites]", "[1,null]", "[1]"),
    JQ_DEF("strings", 0, "def strings: select(type == \"string\");", 0, "The input if it is a string.", "[.[] | strings]", "[1,\"a\"]", "[\"a\"]"),
    JQ_DEF("nulls", 0, "def nulls: select(. == null);", 0, "The input if it is null.", "[.[] | nulls]", "[1,null]", "[null]"),
    JQ_DEF("values", 0, "def values: select(. != null);", 0, "The input if it is not null.", "[.[] | values]", "[1,null]", "[1]"),
    JQ_DEF("scalars", 0, "def scalars: select(type|. != \"array\" and . != \"object\");", 0, "The input if it is no array or object.", "[.[] | scalars]", "[1,[]]", "[1]"),
    JQ_DEF("while", 2, "def while(cond; update): def _while: if cond then ., (update | _while) else empty end; _while;", 0, "Updates as long as the condition holds.", "[1 | while(. < 8; . * 2)]", "null", "[1,2,4]"),
    JQ_DEF("until", 2, "def until(cond; next): def _until: if cond then . else (next|_until) end; _until;", 0, "The first update the condition holds for.", "1 | until(. > 4; . * 2)", "null", "8"),
    JQ_DEF("repeat", 1, "def repeat(exp): def _repeat: exp, _repeat; _repeat;", 0, "The results again and again.", "[limit(3; repeat(1))]", "null", "[1,1,1]"),
    JQ_DEF("range", 3, "def range($init; $upto; $by): if $by > 0 then $init|while(. < $upto; . + $by) elif $by < 0 then $init|while(. > $upto; . + $by) else empty end;", 0, "Numbers in steps.", "[range(0; 5; 2)]", "null", "[0,2,4]"),
    JQ_DEF("skip", 2, "def skip($n; expr): if $n > 0 then foreach expr as $item ($n; . - 1; if . < 0 then $item else empty end) elif $n == 0 then expr else error(\"skip doesn't support negative count\") end;", 0, "All but the first n results.", "[skip(1; 1, 2, 3)]", "null", "[2,3]"),
    JQ_DEF("nth", 1, "def nth($n): .[$n];", 0, "The element at an index.", "nth(1)", "[1,2]", "2"),
    JQ_DEF("nth", 2, "def nth($n; g): if $n < 0 then error(\"nth doesn't support negative indices\") else first(skip($n; g)) end;", 0, "The n-th result, from 0.", "nth(1; 1, 2)", "null", "2"),
    JQ_DEF("first", 0, "def first: .[0];", 0, "The first element.", "first", "[1,2]", "1"),
    JQ_DEF("last", 0, "def last: .[-1];", 0, "The last element.", "last", "[1,2]", "2"),
    JQ_DEF("all", 2, "def all(generator; condition): isempty(generator|condition and empty);", 0, "True if the condition holds for all results.", "all(1, 2; . > 0)", "null", "true"),
    JQ_DEF("any", 2, "def any(generator; condition): isempty(generator|condition or empty)|not;", 0, "True if the condition holds for some result.", "any(1, 2; . > 1)", "null", "true"),
    JQ_DEF("all", 1, "def all(condition): all(.[]; condition);", 0, "True if the condition holds for all elements.", "all(. > 0)", "[1,2]", "true"),
    JQ_DEF("any", 1, "def any(condition): any(.[]; condition);", 0, "True if the condition holds for some element.", "any(. > 1)", "[1,2]", "true"),
    JQ_DEF("all", 0, "def all: all(.[]; .);", 0, "True if all elements are.", "all", "[true,1]", "true"),
    JQ_DEF("any", 0, "def any: any(.[]; .);", 0, "True if some element is.", "any", "[false,1]", "true"),
    JQ_DEF("combinations", 0, "def combinations: if length == 0 then [] else .[0][] as $x | (.[1:] | combinations) as $y | [$x] + $y end;", 0, "All ways to take one element of each array.", "[combinations]", "[[1,2],[3]]", "[[1,3],[2,3]]"),
    JQ_DEF("combinations", 1, "def combinations(n): . as $dot | [range(n) | $dot] | combinations;", 0, "All ways to take n elements.", "[combinations(2)] | length", "[0,1]", "4"),
    JQ_DEF("transpose", 0, "def transpose: [range(0; map(length)|max // 0) as $i | [.[][$i]]];", 0, "Rows as columns.", "transpose", "[[1,2],[3]]", "[[1,3],[2,null]]"),
    JQ_DEF("in", 1, "def in(xs): . as $x | xs | has($x);", 0, "True if the input is a key of the argument.", "\"a\" | in({\"a\":1})", "null", "true"),
    JQ_DEF("inside", 1, "def inside(xs): . as $x | xs | contains($x);", 0, "True if the input lies in the argument.", "inside(\"abc\")", "\"b\"", "true"),
    JQ_DEF("truncate_stream", 1, "def truncate_stream(stream): . as $n | null | stream | . as $input | if (.[0]|length) > $n then setpath([0];$input[0][$n:]) else empty end;", 0, "Stream events with the first n keys cut off.", "[1 | truncate_stream([[0,1],2])]", "null", "[[[1],2]]"),
    JQ_DEF("fromstream", 1, "def fromstream(i): {x: null, e: false} as $init | foreach i as $i ($init; if .e then $init else . end | if $i|length == 2 then setpath([\"e\"]; $i[0]|length==0) | setpath([\"x\"]+$i[0]; $i[1]) else setpath([\"e\"]; $i[0]|length==1) end; if .e then .x else empty end);", 0, "The values of stream events.", "fromstream([[0],1],[[0]])", "null", "[1]"),
    JQ_DEF("tostream", 0, "def tostream: path(def r: (.[]?|r), .; r) as $p | getpath($p) | reduce path(.[]?) as $q ([$p, .]; [$p+$q]);", 0, "The value as stream events.", "[tostream]", "[1]", "[[[0],1],[[0]]]"),
    JQ_DEF("walk", 1, "def walk(f): def w: if type == \"object\" then map_values(w) elif type == \"array\" then map(w) else . end | f; w;", 0, "Each value replaced, from the inside out.", "walk(if type == \"number\" then . + 1 else . end)", "[1,[2]]", "[2,[3]]"),
    JQ_DEF("pick", 1, "def pick(pathexps): . as $in | reduce path(pathexps) as $a (null; setpath($a; $in|getpath($a)) );", 0, "Only what lies at the paths.", "pick(.a)", "{\"a\":1,\"b\":2}", "{\"a\":1}"),
    JQ_DEF("INDEX", 2, "def INDEX(stream; idx_expr): reduce stream as $row ({}; .[$row|idx_expr|tostring] = $row);", 0, "An object of the rows by key.", "INDEX(.[]; .id)", "[{\"id\":1}]", "{\"1\":{\"id\":1}}"),
    JQ_DEF("INDEX", 1, "def INDEX(idx_expr): INDEX(.[]; idx_expr);", 0, "An object of the elements by key.", "INDEX(.id)", "[{\"id\":1}]", "{\"1\":{\"id\":1}}"),
    JQ_DEF("JOIN", 2, "def JOIN($idx; idx_expr): [.[] | [., $idx[idx_expr]]];", 0, "Each element with its match in the index.", "JOIN({\"1\":\"x\"}; tostring)", "[1]", "[[1,\"x\"]]"),
    JQ_DEF("JOIN", 3, "def JOIN($idx; stream; idx_expr): stream | [., $idx[idx_expr]];", 0, "Each row with its match in the index.", "JOIN({\"1\":\"x\"}; 1; tostring)", "null", "[1,\"x\"]"),
    JQ_DEF("JOIN", 4, "def JOIN($idx; stream; idx_expr; join_expr): stream | [., $idx[idx_expr]] | join_expr;", 0, "Each row joined with its match in the index.", "JOIN({\"1\":\"x\"}; 1; tostring; .[1])", "null", "\"x\""),
    JQ_DEF("IN", 1, "def IN(s): any(s == .; .);", 0, "True if the input is one of the results.", "IN(1, 2)", "2", "true"),
    JQ_DEF("IN", 2, "def IN(src; s): any(src == s; .);", 0, "True if a result of the first is one of the second.", "IN(1, 2; 2, 3)", "null", "true"),
    JQ_DEF("inputs", 0, "def inputs: try repeat(input) catch if . == \"break\" then empty else error end;", JQ_EVAL_ONLY | JQ_UNSTABLE, "All inputs that are left.", JQ_NO_EXAMPLE),
    JQ_DEF("debug", 1, "def debug(msgs): (msgs | debug | empty), .;", JQ_EVAL_ONLY | JQ_UNSTABLE, "Shows the messages, yields the input.", JQ_NO_EXAMPLE),
    JQ_DEF("halt_error", 0, "def halt_error: halt_error(5);", JQ_EVAL_ONLY | JQ_UNSTABLE, "Ends with the input as message and code 5.", JQ_NO_EXAMPLE),
};
// clang-format on

JQ_FAMILY(jq_defined_natives, table);
