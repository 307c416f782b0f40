/** Colours keep a contrast of at least 4.5:1 in both schemes. */
export const STYLE = `
:root{--ink:#1b1b1f;--paper:#fff;--soft:#5b5b66;--line:#d5d5de;--critical:#ffc9c9;--high:#ffd8a8;--medium:#fff3bf;--low:#d0ebff}
@media (prefers-color-scheme:dark){:root{--ink:#ececf1;--paper:#17171b;--soft:#a9a9b6;--line:#3a3a44;--critical:#7d1f1f;--high:#74420b;--medium:#5c4d06;--low:#124a72}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1.5rem;font:1rem/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{margin:0;font-size:1.5rem}h2{margin:2rem 0 .5rem;font-size:1.2rem}h3{margin:0;font-size:1rem}
a{color:inherit}.name{font-size:1.1rem;overflow-wrap:anywhere}.meta{color:var(--soft);font-size:.875rem;overflow-wrap:anywhere}
.verdict{font-size:1.25rem;padding:.5rem .75rem;border:1px solid var(--line);border-radius:.4rem}
.verdict.fail{background:var(--critical)}.verdict.incomplete{background:var(--medium)}
article{margin:.75rem 0;padding:.75rem 1rem;border:1px solid var(--line);border-left-width:.5rem;border-radius:.4rem;break-inside:avoid}
article.critical{border-left-color:var(--critical)}article.high{border-left-color:var(--high)}article.medium{border-left-color:var(--medium)}article.low{border-left-color:var(--low)}
article.critical .tag{background:var(--critical)}article.high .tag{background:var(--high)}article.medium .tag{background:var(--medium)}article.low .tag{background:var(--low)}
.tag{padding:.05rem .4rem;border-radius:.25rem;color:var(--ink)}
table{border-collapse:collapse;width:100%}th,td{padding:.3rem .5rem;border-bottom:1px solid var(--line);text-align:left}
.text{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--line);border-radius:.4rem;padding:1rem}
mark{color:var(--ink);border-radius:.15rem}mark.critical{background:var(--critical)}mark.high{background:var(--high)}mark.medium{background:var(--medium)}mark.low{background:var(--low)}
a:target+mark{outline:3px solid currentColor}
@media print{body{max-width:none;padding:0;font-size:10pt}.text{border:0;padding:0}mark,.tag,.verdict{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
`
