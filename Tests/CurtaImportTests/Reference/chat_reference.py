# SPDX-License-Identifier: Apache-2.0
"""What jinja2 makes of the templates in chat/, in the environment of transformers.

usage: chat_reference.py [--check]    writes chat/expected.json, or compares with it
"""

import json
import pathlib
import sys

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER = pathlib.Path(__file__).parent / "chat"
SAID = ["Hello there!", "Hi.\n\nHow are you?", "caf\u00e9 \U0001f980", " \n spaced \t\n", "[x] <y> {{ z }}",
        "ok", "</s> 'q' \"r\" \\n", "fine  thanks", "Bye", "bye"]


def environment():
    """As transformers.utils.chat_template_utils makes it, without the time of day."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                         extensions=[loopcontrols])

    def raise_exception(message):
        raise TemplateError(message)

    made.globals["raise_exception"] = raise_exception
    made.filters["tojson"] = lambda x, **more: json.dumps(x, ensure_ascii=False, **more)
    return made


def conversations():
    """With and without system message, one to five turns, ended by either side."""
    for system in (None, "Be brief.", " \nspaced system\n"):
        for turns in (1, 3) if system and system.startswith(" ") else (1, 2, 3, 9):
            messages = [] if system is None else [{"role": "system", "content": system}]
            for i in range(turns):
                messages.append({"role": ("user", "assistant")[i % 2], "content": SAID[i]})
            yield messages


def main():
    """Renders everything."""
    results = {}
    for path in sorted(FOLDER.glob("*.jinja")):
        text = path.read_text(encoding="utf-8")
        words = text.split("-#}")[0].split()[1:]
        tokens = dict(word.split("=", 1) for word in words if "=" in word)
        template = environment().from_string(text)
        rows = []
        for messages in conversations():
            for ask in (True, False):
                try:
                    out = template.render(messages=messages, add_generation_prompt=ask, tools=None,
                                          documents=None, **tokens)
                except TemplateError:
                    out = None
                rows.append(out)
        results[path.stem] = {"tokens": tokens, "rendered": rows}
    data = json.dumps({"conversations": list(conversations()), "templates": results},
                      ensure_ascii=False, indent=0, sort_keys=True) + "\n"
    target = FOLDER / "expected.json"
    if "--check" in sys.argv:
        same = target.read_text(encoding="utf-8") == data
        print("same" if same else "different")
        return 0 if same else 1
    target.write_text(data, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
