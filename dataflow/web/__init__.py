"""What the HTTP services of all rooms share: one form of answers, one gate, one way to run them.

answer       the forms of answers, and Refusal
body         the JSON object that a request carries
app          a Flask application with the gate, the clock and what becomes of errors
server       such an application on gunicorn
"""
