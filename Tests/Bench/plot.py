"""The figures as an SVG picture: one panel a metric, one bar a system, drawn by hand."""

from xml.sax.saxutils import escape

from measurements import METRICS

_SHOWN = ("tcp_1", "tcp_8", "tcp_both", "udp_delivered", "rtt_p50", "asleep_p50", "machine_tcp", "forwarding_tcp")
_COLOURS = {"native": "#d1495b", "native-packet": "#e58a4e", "socket": "#e9b8be", "kernel": "#30638e",
            "ovs": "#8a9a5b", "ovs-afxdp": "#c9a227"}
_COLUMNS, _WIDTH, _LABEL, _BAR, _ROW, _MARGIN = 2, 480, 200, 190, 22, 20


def svg(figures):
    """The whole picture, as text."""
    names = list(figures["medians"])
    metrics = [metric for metric in METRICS if metric.key in _SHOWN]
    height = _ROW * (len(names) + 1) + _MARGIN
    lines = -(-len(metrics) // _COLUMNS)
    size = (_COLUMNS * _WIDTH + 2 * _MARGIN, lines * height + _MARGIN)
    panels = []
    for number, metric in enumerate(metrics):
        left = _MARGIN + number % _COLUMNS * _WIDTH
        top = _MARGIN + number // _COLUMNS * height
        panels += _panel(figures, names, metric, left, top)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{size[0]}" height="{size[1]}" rx="8" fill="#fff"/>', *panels, "</svg>", ""])


def _panel(figures, names, metric, left, top):
    values = {name: figures["medians"][name][metric.key] for name in names}
    longest = max((value for value in values.values() if value), default=1)
    better = "more is better" if metric.more_is_better else "less is better"
    yield (f'<text x="{left}" y="{top + 14}" font-weight="bold">{escape(metric.title)}'
           f'<tspan dx="8" font-weight="normal" fill="#666">{escape(metric.unit)}, {better}</tspan></text>')
    for row, (name, value) in enumerate(values.items(), 1):
        y = top + row * _ROW
        bar = _BAR * max(value or 0, 0) / longest
        yield f'<text x="{left + _LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(figures["titles"][name])}</text>'
        yield (f'<rect x="{left + _LABEL}" y="{y + 3}" width="{bar:.1f}" height="{_ROW - 6}" rx="2" '
               f'fill="{_COLOURS[name]}"/>')
        yield f'<text x="{left + _LABEL + bar + 6:.1f}" y="{y + 15}">{metric.text(value)}</text>'
